"""What a saved router may have loaded: an embedder by name, never code.

A router is data of somebody who may mean harm. The embedder that it names is loaded only when the name is the default
one or is allowed by the user, and a folder of weights only when nothing in it names code.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Any

from langchain_avengers._text import shorten
from langchain_avengers.errors import ArtifactError, RouterError
from langchain_avengers.weights import MINILM, canonical_name

ENVIRONMENT_VARIABLE = "AVENGERS_EMBEDDINGS"
DEFAULT = MINILM.hub

_OWN_CLASS = re.compile(
    r"sentence_transformers(\.[a-z_]+)*\."
    r"(Transformer|Pooling|Normalize|Dense|LayerNorm|Dropout|StaticEmbedding|WeightedLayerPooling|CNN|LSTM)"
)
"""Modules of sentence-transformers that load weights and settings alone. `Router`, `WordEmbeddings`, `CLIPModel` and
others read further names of classes from their files."""

_ACTIVATION = re.compile(r"torch\.nn\.modules\.(activation|linear)\.\w+")

_MOST_BYTES = 1 << 20  # of a settings file


def allowed_name(name: str, trusted: Collection[str] = ()) -> str:
    """The name by which the embedder that a router names may be loaded.

    Args:
        name: The name in the router.
        trusted: Names that the user allows: as in the router, or `owner/name@revision`, which pins a commit,
            tag or branch.

    Returns:
        The trusted name, with its revision; the folder that `AVENGERS_EMBEDDINGS` names when it holds that model.

    Raises:
        ArtifactError: The name is neither the default, nor trusted, nor the one in `AVENGERS_EMBEDDINGS`.
    """
    named = os.environ.get(ENVIRONMENT_VARIABLE) or None
    for candidate in (*trusted, *([named] if named else [])):
        if name in (candidate, candidate.partition("@")[0]) or (
            Path(candidate).expanduser().is_dir() and canonical_name(Path(candidate)) == name
        ):
            return candidate
    if name == DEFAULT:
        return name
    shown = shorten(name, 100)
    raise ArtifactError(
        f"the router names the embedder {shown!r}, and a router does not decide what is loaded: pass that embedder "
        f"(embeddings=, --embeddings), or allow the name (trust_embedder={shown!r}, {ENVIRONMENT_VARIABLE}={shown})"
    )


def check_model_folder(folder: Path) -> None:
    """Refuse a folder of a sentence embedding model that names code.

    Its `modules.json` may name only sentence-transformers' own modules, inside the folder. Settings that point to code
    (`auto_map`) or to another model (an adapter) are refused, and so are weights that are not safetensors.

    Raises:
        RouterError: The folder holds one of these; the message names the file.
    """
    paths = [""]
    modules = folder / "modules.json"
    if modules.exists():
        paths = []
        for module in _entries(modules):
            kind, path = module.get("type"), module.get("path")
            if not isinstance(kind, str) or not _OWN_CLASS.fullmatch(kind):
                raise RouterError(
                    f"{modules}: the embedder wants the class {shorten(str(kind), 80)!r}, which is code of its own; "
                    "only sentence-transformers' own modules are loaded"
                )
            if not isinstance(path, str) or PurePosixPath(path).is_absolute() or ".." in Path(path).parts:
                raise RouterError(f"{modules}: the path {shorten(str(path), 80)!r} leads out of the folder")
            paths.append(path)
    for path in dict.fromkeys(["", *paths]):
        _check_settings(folder / path)


def _check_settings(folder: Path) -> None:
    for file in sorted(folder.glob("*.json")):
        if file.name == "adapter_config.json":
            raise RouterError(f"{file}: an adapter names another model to load; merge it into its model")
        if file.stat().st_size > _MOST_BYTES:  # a vocabulary, which names no code
            continue
        settings = _read(file)
        if not isinstance(settings, dict):
            continue
        if "auto_map" in settings or "custom_pipelines" in settings:
            raise RouterError(f"{file}: the model wants code of its own (auto_map), which is not loaded")
        activation = settings.get("activation_function")
        if isinstance(activation, str) and not _ACTIVATION.fullmatch(activation):
            raise RouterError(
                f"{file}: the activation function {shorten(activation, 80)!r} is not one of torch.nn"
            )
    pickled = next((file for mark in ("*.bin", "*.pt", "*.pth", "*.pkl") for file in folder.glob(mark)), None)
    if pickled is not None and not any(folder.glob("*.safetensors")):
        raise RouterError(f"{pickled}: weights are read as safetensors alone, other formats may hold code")


def _entries(file: Path) -> list[dict[str, Any]]:
    entries = _read(file) if file.stat().st_size <= _MOST_BYTES else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise RouterError(f"{file}: not a list of modules")
    return entries


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RouterError(f"{file}: the file cannot be read: {shorten(str(error), 200)}") from None
