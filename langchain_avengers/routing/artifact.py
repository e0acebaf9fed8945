"""A router on disk: `router.json` and `centroids.npy` in a folder. Plain data, checked when read, no pickle.

`router.json` holds everything but the large array: schema and package version, embedder, models, parameters, the sums
behind every score, and the SHA-256 of `centroids.npy`. `centroids.npy` is one float32 array of shape (rows, d): the
centroids of each clustering one after the other, then the linear weights of each model if there are any, then the
embedding of the probe sentence if it is known; `router.json` says how many of each.
"""

from __future__ import annotations

import base64
import io
import json
import math
import os
import re
from contextlib import suppress
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langchain_avengers._files import sync_folder, write_whole
from langchain_avengers._text import shorten
from langchain_avengers.errors import ArtifactError, RouterError
from langchain_avengers.routing import schema
from langchain_avengers.routing.card import router_card
from langchain_avengers.routing.hub import download, is_hub_name
from langchain_avengers.routing.parameters import Parameters
from langchain_avengers.routing.resolutions import CurvePoint
from langchain_avengers.routing.scoring import ClusterStats
from langchain_avengers.routing.state import (
    Calibration,
    Clustering,
    CostAdvice,
    Embedder,
    FittedRouter,
    Linear,
    Subset,
)
from langchain_avengers.voting.policy import VotePolicy

SCHEMA_VERSION = 2
JSON_NAME, ARRAY_NAME, CARD_NAME = "router.json", "centroids.npy", "README.md"
_KIND = "langchain-avengers router"
_STATS = tuple(ClusterStats.__dataclass_fields__)

_MOST_BYTES = 256 << 20  # of router.json; a router of 1,000 clusters and 200 models has a tenth of that
_MOST_HEADER = 10_000  # bytes of the array's header
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..{'descr': '(?P<kind>[|<>=\w]{1,10})', 'fortran_order': False, "
    rb"'shape': \((?P<rows>\d{1,12}), (?P<columns>\d{1,12})\), } *\n",
    re.DOTALL,
)
_LONGEST = 1e6  # centroids of unit vectors are short; linear weights of scores are, too
_DAMAGE = (
    KeyError,
    TypeError,
    ValueError,
    IndexError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    RouterError,
)
"""What reading a file of the right kind with wrong content can raise, in places that the schema leaves to others."""


def save(state: FittedRouter, path: str | os.PathLike[str]) -> None:
    """Write a fitted router; `ClusterRouter.save` says how."""
    folder = Path(path)
    fields, array = _fields(state)
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    payload = buffer.getvalue()
    fields["array"]["sha256"] = sha256(payload).hexdigest()
    try:
        # The new array is laid beside the old one under a name that tells its digest; replacing router.json is the one
        # step that counts; then the array takes its plain name. Whenever this is cut off, router.json finds its array.
        pending = folder / _pending_name(fields["array"]["sha256"])
        write_whole(pending, payload)
        write_whole(
            folder / JSON_NAME, json.dumps(fields, indent=1, ensure_ascii=False, allow_nan=False).encode()
        )
        os.replace(pending, folder / ARRAY_NAME)
        sync_folder(folder)
        write_whole(folder / CARD_NAME, router_card(state).encode())
        for left_over in folder.glob("centroids-*.npy"):
            left_over.unlink(missing_ok=True)
    except OSError as error:
        raise ArtifactError(f"{folder}: the router cannot be written: {error.strerror or error}") from error


def load(
    path: str | os.PathLike[str], *, digest: str | None = None, revision: str | None = None
) -> FittedRouter:
    """Read a router; `ClusterRouter.load` says how."""
    folder = Path(path)
    if is_hub_name(path):
        try:
            folder = download(str(path), revision=revision)
        except ArtifactError as error:
            raise ArtifactError(f"{path}: there is no such folder, and on the hub: {error}") from error
    elif revision is not None:
        raise ArtifactError(
            f"{path}: revision is {revision!r}, but this is a folder, not a router on the hub"
        )
    fields = _read_fields(folder / JSON_NAME, digest)
    try:
        content = schema.read(fields)
        return _router(content, _read_array(folder, content.array))
    except ArtifactError:
        raise
    except _DAMAGE as error:
        raise ArtifactError(
            f"{folder / JSON_NAME}: the file is damaged: {shorten(_said(error), 300)}"
        ) from error


def _said(error: BaseException) -> str:
    return f"field {error} is missing" if isinstance(error, KeyError) else str(error) or type(error).__name__


def _pending_name(digest: str) -> str:
    return f"centroids-{digest[:16]}.npy"


def _fields(state: FittedRouter) -> tuple[dict[str, Any], NDArray[np.float32]]:
    """The content of `router.json` but for the array's digest, and the array."""
    from langchain_avengers import __version__

    linear, probe, calibration = state.linear, state.embedder.probe, state.calibration
    blocks = [part.centroids for part in state.clusterings]
    if linear is not None:
        blocks.append(linear.weights)
    if probe is not None:
        blocks.append(probe[None, :])
    array = np.ascontiguousarray(np.vstack(blocks), dtype=np.float32)
    digests, moving = calibration.query_digests, calibration.correlations
    fields = {
        "kind": _KIND,
        "schema_version": SCHEMA_VERSION,
        "package_version": __version__,
        "embedding": {
            "name": state.embedder.name,
            "dimension": state.width,
            "fingerprint": None if probe is None else sha256(probe.tobytes()).hexdigest()[:16],
        },
        "array": {
            "file": ARRAY_NAME,
            "shape": list(array.shape),
            "clusters": [len(part.centroids) for part in state.clusterings],
            "weights": [part.weight for part in state.clusterings],
            "linear": 0 if linear is None else len(state.models),
            "probe": 0 if probe is None else 1,
        },
        "models": state.models,
        "parameters": asdict(state.parameters),
        "novelty_quantile": state.novelty_quantile,
        "novelty_reach": state.novelty_reach.tolist(),
        "novelty_distance": state.novelty_distance if math.isfinite(state.novelty_distance) else None,
        "linear": None
        if linear is None
        else {"share": linear.share, "intercepts": linear.intercepts.tolist()},
        "calibration": {
            "rows": calibration.n_rows,
            "curve": calibration.curve,
            "cluster_tasks": calibration.cluster_tasks,
            "tasks": calibration.tasks,
            "task_statistics": _plain(calibration.by_task),
            "examples": calibration.examples,
            "subsets": [asdict(subset) for subset in calibration.subsets],
            "cost_advice": None if calibration.cost_advice is None else asdict(calibration.cost_advice),
            "correlations": None if moving is None else np.round(moving, 4).tolist(),
            "query_digests": None
            if digests is None
            else base64.b64encode(digests.astype("<u8").tobytes()).decode(),
        },
        # readable for people; what is read back are the sums below
        "scores": np.round(state.cluster_scores.astype(float), 4).tolist(),
        "statistics": [_plain(part.stats) for part in state.clusterings],
        "policy": None if state.policy is None else state.policy.to_dict(),
    }
    return fields, array


def _plain(stats: ClusterStats) -> dict[str, Any]:
    return {name: getattr(stats, name).tolist() for name in _STATS}


def _read_fields(path: Path, digest: str | None) -> dict[str, Any]:
    """The parsed content of `router.json`, in the newest version's form."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            payload = file.read(_MOST_BYTES + 1) if size <= _MOST_BYTES else b""
    except FileNotFoundError as error:
        raise ArtifactError(
            f"{path}: no such file; a router is a folder written by ClusterRouter.save"
        ) from error
    except OSError as error:
        raise ArtifactError(f"{path}: the file cannot be read: {error}") from error
    if size > _MOST_BYTES or len(payload) > _MOST_BYTES:
        raise ArtifactError(f"{path}: the file has more than {_MOST_BYTES >> 20} MiB; no router is so large")
    if digest is not None and sha256(payload).hexdigest() != digest.lower().strip():
        raise ArtifactError(
            f"{path}: this is not the router you named: its SHA-256 is {sha256(payload).hexdigest()}"
        )
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{path}: the file cannot be read: {error}") from error
    try:
        state = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path}: the file is damaged or no JSON: {error}") from error
    if not isinstance(state, dict) or state.get("kind") != _KIND:
        raise ArtifactError(f"{path}: this is not a router of langchain-avengers")
    version = state.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ArtifactError(f"{path}: schema_version is {shorten(repr(version), 40)}; the file is damaged")
    if version > SCHEMA_VERSION:
        raise ArtifactError(
            f"{path}: written by langchain-avengers {shorten(str(state.get('package_version')), 40)} with schema "
            f"{shorten(str(version), 40)}; this version "
            f"reads schemas up to {SCHEMA_VERSION}: upgrade langchain-avengers"
        )
    try:
        for older in range(version, SCHEMA_VERSION):
            state = MIGRATIONS[older](state)
    except _DAMAGE as error:
        raise ArtifactError(f"{path}: the file is damaged: {shorten(_said(error), 300)}") from error
    checked: dict[str, Any] = state
    return checked


def _from_1(state: dict[str, Any]) -> dict[str, Any]:
    """Schema 1 (version 0.1.0) averaged its clusterings, and the linear part had the rest."""
    count = len(state["array"]["clusters"])
    share = float(state["linear"]["share"]) if state["array"]["linear"] else 0.0
    array = {**state["array"], "weights": [(1 - share) / max(count, 1)] * count}
    return {
        **state,
        "array": array,
        "novelty_quantile": state["parameters"]["novelty_quantile"],
        "novelty_reach": None,
    }


MIGRATIONS: dict[int, Any] = {1: _from_1}
"""From each older schema version, a function of the parsed file that gives it in the next version's form."""


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _read_array(folder: Path, expected: schema.ArrayPart) -> NDArray[np.float32]:
    bytes_wanted = 4 * math.prod(expected.shape)
    path, found = folder / ARRAY_NAME, False
    payload = b""
    # the second name is there where a save was cut off between its last two steps
    for path in (folder / ARRAY_NAME, folder / _pending_name(expected.sha256)):
        with suppress(FileNotFoundError), path.open("rb") as file:
            found = True
            payload = file.read(bytes_wanted + _MOST_HEADER + 1)
            if sha256(payload).hexdigest() == expected.sha256:
                break
    else:
        path = folder / ARRAY_NAME
        if not found:
            raise ArtifactError(f"{path}: no such file; the router is incomplete")
        raise ArtifactError(f"{path}: the file is damaged or belongs to another router (its SHA-256 differs)")
    # np.load would make room for the shape in the header before it looks for the numbers
    header = _HEADER.match(payload)
    if header is None or header["kind"] == b"|O":
        raise ArtifactError(
            f"{path}: not an array of plain numbers in two dimensions, as numpy.save writes it"
        )
    numbers = payload[header.end() :]
    shape = [int(header["rows"]), int(header["columns"])]
    if header["kind"] != b"<f4" or shape != expected.shape or len(numbers) != bytes_wanted:
        raise ArtifactError(f"{path}: expected float32 of shape {expected.shape}")
    array = np.frombuffer(numbers, dtype="<f4").reshape(expected.shape)
    if not np.isfinite(array).all():
        raise ArtifactError(f"{path}: the array holds NaN or infinity")
    if np.abs(array).max() > _LONGEST:
        raise ArtifactError(f"{path}: the array holds numbers beyond {_LONGEST:g}")
    return array


def _stats(sums: schema.Statistics) -> ClusterStats:
    return ClusterStats(
        **{name: np.array(rows, dtype=np.float64).reshape(len(rows), -1) for name, rows in sums}
    )


def _router(content: schema.RouterFile, array: NDArray[np.float32]) -> FittedRouter:
    parameters = Parameters(**content.parameters)  # type: ignore[arg-type]  # checked in the next line
    parameters.check()
    layout, calibration = content.array, content.calibration
    blocks = np.split(array, np.cumsum([*layout.clusters, layout.linear]))
    *centroids, weights, probe = blocks
    if layout.probe and sha256(probe[0].tobytes()).hexdigest()[:16] != content.embedding.fingerprint:
        raise ValueError("the fingerprint of the embedder is not that of its embedding in the array")
    digests = calibration.query_digests
    advice = calibration.cost_advice
    n_models, n_finest = len(content.models), max(layout.clusters)
    by_task = _stats(calibration.task_statistics) if calibration.tasks else ClusterStats.zeros(0, n_models)
    return FittedRouter(
        parameters=parameters,
        models=tuple(content.models),
        clusterings=tuple(
            Clustering(block, _stats(sums), weight)
            for block, sums, weight in zip(centroids, content.statistics, layout.weights, strict=True)
        ),
        linear=None
        if content.linear is None
        else Linear(weights, np.array(content.linear.intercepts, dtype=np.float64), content.linear.share),
        novelty_quantile=content.novelty_quantile,
        novelty_distance=math.inf if content.novelty_distance is None else content.novelty_distance,
        novelty_reach=np.array(content.novelty_reach or [0.0] * n_finest, dtype=np.float32),
        calibration=Calibration(
            n_rows=calibration.rows,
            curve=tuple(CurvePoint(**dict(point)) for point in calibration.curve),  # type: ignore[typeddict-item]
            cluster_tasks=tuple(calibration.cluster_tasks),
            examples=tuple(map(tuple, calibration.examples)),
            tasks=tuple(calibration.tasks),
            by_task=by_task,
            query_digests=None
            if digests is None
            else np.frombuffer(base64.b64decode(digests, validate=True), dtype="<u8"),
            # 0.1.0 wrote none of these
            subsets=tuple(Subset(tuple(subset.models), subset.score) for subset in calibration.subsets),
            cost_advice=None if advice is None else CostAdvice(**dict(advice)),
            correlations=None if calibration.correlations is None else np.array(calibration.correlations),
        ),
        embedder=Embedder(content.embedding.name, probe[0] if layout.probe else None),
        policy=None if content.policy is None else VotePolicy.from_dict(content.policy.model_dump()),
    )
