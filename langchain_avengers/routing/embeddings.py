"""The embedder: all-MiniLM-L6-v2 through langchain-huggingface unless another is named."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from langchain_core.embeddings import Embeddings

from langchain_avengers._text import well_formed
from langchain_avengers.errors import ArtifactError, RouterError
from langchain_avengers.routing.state import Embedder
from langchain_avengers.routing.trust import DEFAULT, ENVIRONMENT_VARIABLE, check_model_folder
from langchain_avengers.routing.vectors import Vectors, unit_vectors
from langchain_avengers.weights import canonical_name, find_weights, quiet_loading

if TYPE_CHECKING:
    from langchain_huggingface import HuggingFaceEmbeddings

PROBE = "Which planet is closest to the sun, and why is it not the hottest?"
"""The sentence whose embedding, kept in the artefact, tells one embedder from another."""

_loaded: dict[Path, HuggingFaceEmbeddings] = {}
_lock = threading.Lock()


def default_embeddings(name: str | None = None) -> Embeddings:
    """Load a sentence embedding model, once per process and safe to call from any thread.

    The weights are looked up as `find_weights` says: explicit path, installed package, hub. Loading takes
    some seconds, most of them importing torch and sentence-transformers; checking the digest of the default
    weights adds 0.2 s. No code of the model is run, whatever its files say: see `trust.check_model_folder`.

    Args:
        name: A folder, a hub name, or a name that `embeddings_name` gave; `owner/name@revision` pins a commit, tag or
            branch of the hub. By default what the environment variable `AVENGERS_EMBEDDINGS` names, else
            `"sentence-transformers/all-MiniLM-L6-v2"`.

    Returns:
        A `HuggingFaceEmbeddings` with L2-normalised vectors.

    Raises:
        WeightsNotFoundError: The weights are nowhere.
        RouterError: `name` is of an embedder that cannot be made from its name, its folder names code, or
            sentence-transformers is missing.
    """
    named = os.environ.get(ENVIRONMENT_VARIABLE) or None
    if name is None:
        name = named or DEFAULT
    elif named is not None and Path(named).expanduser().is_dir() and canonical_name(Path(named)) == name:
        name = named  # the folder of the very model asked for goes before package and hub
    if ":" in name and not Path(name).exists():
        raise RouterError(f"embedder {name!r} cannot be made from its name: pass embeddings=")
    with _lock:
        path = find_weights(name).resolve()
        if path not in _loaded:
            _loaded[path] = _load(path)
        return _loaded[path]


def _load(path: Path) -> HuggingFaceEmbeddings:
    try:
        import sentence_transformers  # noqa: F401 - asked for here so that the error can say what to install
        from langchain_huggingface import HuggingFaceEmbeddings
    except ImportError as error:
        raise RouterError(
            f"the local embedder needs a package ({error.name}): pip install 'langchain-avengers[local]', "
            "or pass embeddings="
        ) from error
    check_model_folder(path)
    with quiet_loading():
        return HuggingFaceEmbeddings(
            model_name=str(path),
            model_kwargs={
                "trust_remote_code": False,
                "local_files_only": True,
                "model_kwargs": {"use_safetensors": True},
            },
            encode_kwargs={"normalize_embeddings": True},
        )


def embeddings_name(embeddings: Embeddings) -> str:
    """A name of the embedder that is the same on every machine, to be recorded beside a fitted router.

    Local sentence-transformers models are called by their hub name (by their folder's name where they have
    none), and `default_embeddings` takes that name. Others are called `Class:model`, or `Class` where they
    name no model.
    """
    inner = getattr(embeddings, "underlying_embeddings", None)  # a cache around an embedder is that embedder
    if isinstance(inner, Embeddings):
        return embeddings_name(inner)
    model = next(
        (
            value
            for attribute in ("model_name", "model", "model_id", "repo_id", "deployment")
            if isinstance(value := getattr(embeddings, attribute, None), str) and value
        ),
        None,
    )
    kind = type(embeddings).__name__
    if model is None:
        return kind
    if Path(model).expanduser().is_dir():
        model = canonical_name(Path(model))
    return model if kind == "HuggingFaceEmbeddings" else f"{kind}:{model}"


def recorded(embeddings: Embeddings) -> Embedder:
    """What tells this embedder from another: its name, and its embedding of the sentence `PROBE`."""
    probe = unit_vectors([embeddings.embed_query(PROBE)])[0]
    return Embedder(embeddings_name(embeddings), probe)


def check_embedder(embeddings: Embeddings, expected: Embedder, width: int) -> None:
    """Refuse an embedder that does not embed the sentence `PROBE` as the one recorded.

    Raises:
        ArtifactError: The vectors have another length than `width`, or another direction.
    """
    vector = embeddings.embed_query(PROBE)
    if len(vector) != width:
        raise ArtifactError(
            f"the embedder gives {len(vector)} dimensions, the router was fitted with {width}"
            + (f" of {expected.name}" if expected.name else "")
        )
    if expected.probe is None:
        return
    cosine = float(unit_vectors([vector])[0] @ expected.probe)
    if not cosine >= 0.99:
        raise ArtifactError(
            f"this is not the embedder the router was fitted with ({expected.name}): a fixed sentence's "
            f"embedding has cosine {cosine:.3f} to the recorded one; pass that embedder, or fit again"
        )


def embed_texts(embeddings: Embeddings, texts: Sequence[str], width: int | None = None) -> Vectors:
    """The texts' embeddings, shape (n, d) float32, each of length 1; equal texts are embedded once.

    Half a character in a text is embedded as `well_formed` writes it.

    Raises:
        RouterError: The embedder gave another number of vectors, vectors of another length than `width`, or one
            without a direction.
    """
    texts = [well_formed(text) for text in texts]
    distinct = list(dict.fromkeys(texts))
    place = {text: row for row, text in enumerate(distinct)}
    embedded = embeddings.embed_documents(distinct)
    if len(embedded) != len(distinct):
        raise RouterError(f"the embedder gave {len(embedded)} vectors for {len(distinct)} texts")
    return unit_vectors(embedded, width)[[place[text] for text in texts]]
