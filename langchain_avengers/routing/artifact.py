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
from contextlib import suppress
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langchain_avengers._files import sync_folder, write_whole
from langchain_avengers.errors import ArtifactError, RouterError
from langchain_avengers.routing.card import router_card
from langchain_avengers.routing.hub import download, is_hub_name
from langchain_avengers.routing.parameters import Parameters
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


def load(path: str | os.PathLike[str]) -> FittedRouter:
    """Read a router; `ClusterRouter.load` says how."""
    folder = Path(path)
    if is_hub_name(path):
        try:
            folder = download(str(path))
        except ArtifactError as error:
            raise ArtifactError(f"{path}: there is no such folder, and on the hub: {error}") from error
    state = _read_state(folder / JSON_NAME)
    try:
        array = _read_array(folder, state["array"])
        return _router(state, array)
    except ArtifactError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, RouterError) as error:
        what = f"field {error} is missing" if isinstance(error, KeyError) else str(error)
        raise ArtifactError(f"{folder / JSON_NAME}: the file is damaged: {what}") from error


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
    digests = calibration.query_digests
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


def _read_state(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ArtifactError(
            f"{path}: no such file; a router is a folder written by ClusterRouter.save"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path}: the file cannot be read: {error}") from error
    try:
        state = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path}: the file is damaged or no JSON: {error}") from error
    if not isinstance(state, dict) or state.get("kind") != _KIND:
        raise ArtifactError(f"{path}: this is not a router of langchain-avengers")
    version = state.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ArtifactError(f"{path}: schema_version is {version!r}; the file is damaged")
    if version > SCHEMA_VERSION:
        raise ArtifactError(
            f"{path}: written by langchain-avengers {state.get('package_version')} with schema {version}; this version "
            f"reads schemas up to {SCHEMA_VERSION}: upgrade langchain-avengers"
        )
    try:
        for older in range(version, SCHEMA_VERSION):
            state = MIGRATIONS[older](state)
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path}: the file is damaged: {type(error).__name__} {error}") from error
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


def _read_array(folder: Path, expected: dict[str, Any]) -> NDArray[np.float32]:
    digest = expected["sha256"]
    path = folder / ARRAY_NAME
    payload = b""
    # the second name is there where a save was cut off between its last two steps
    for path in (folder / ARRAY_NAME, folder / _pending_name(digest)):
        with suppress(FileNotFoundError):
            payload = path.read_bytes()
            if sha256(payload).hexdigest() == digest:
                break
    else:
        if not payload:
            raise ArtifactError(f"{folder / ARRAY_NAME}: no such file; the router is incomplete")
        raise ArtifactError(
            f"{folder / ARRAY_NAME}: the file is damaged or belongs to another router (its SHA-256 differs)"
        )
    try:
        array = np.load(io.BytesIO(payload), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ArtifactError(f"{path}: not an array of plain numbers: {error}") from error
    if (
        not isinstance(array, np.ndarray)
        or array.dtype != np.float32
        or list(array.shape) != expected["shape"]
    ):
        raise ArtifactError(f"{path}: expected float32 of shape {expected['shape']}")
    if not np.isfinite(array).all():
        raise ArtifactError(f"{path}: the array holds NaN or infinity")
    return array


def _stats(sums: dict[str, Any], shape: tuple[int, int], what: str) -> ClusterStats:
    arrays = [np.asarray(sums[name], dtype=np.float64) for name in _STATS]
    if any(part.shape != shape or not np.isfinite(part).all() for part in arrays):
        raise ValueError(f"{what} by models, or are not finite")
    return ClusterStats(*arrays)


def _reach(distances: list[float] | None, n_clusters: int) -> NDArray[np.float32]:
    reach = np.zeros(n_clusters, np.float32) if distances is None else np.asarray(distances, dtype=np.float32)
    if reach.shape != (n_clusters,) or not np.isfinite(reach).all():
        raise ValueError("novelty_reach is not one finite number for each cluster of the finest clustering")
    return reach


def _router(state: dict[str, Any], array: NDArray[np.float32]) -> FittedRouter:
    layout, models = state["array"], state["models"]
    clusters: list[int] = layout["clusters"]
    if not models or not all(isinstance(name, str) for name in models) or len(set(models)) != len(models):
        raise ValueError("models are not names, all different")
    if len(state["statistics"]) != len(clusters) or not clusters or min(clusters) < 1:
        raise ValueError("statistics and clusters do not fit together")
    if layout["linear"] not in (0, len(models)) or layout["probe"] not in (0, 1):
        raise ValueError("the layout of the array is none this version knows")
    if (
        sum(clusters) + layout["linear"] + layout["probe"] != len(array)
        or array.shape[1] != state["embedding"]["dimension"]
    ):
        raise ValueError("the array does not have the rows or the dimension it is said to have")
    parameters = Parameters(**state["parameters"])
    parameters.check()
    clusterings = []
    start = 0
    for n_clusters, weight, sums in zip(clusters, layout["weights"], state["statistics"], strict=True):
        if not isinstance(weight, int | float) or not 0 <= weight <= 1:
            raise ValueError(f"the weight {weight!r} of a clustering is not in [0, 1]")
        stats = _stats(sums, (n_clusters, len(models)), "statistics have another shape than clusters")
        clusterings.append(Clustering(array[start : start + n_clusters], stats, float(weight)))
        start += n_clusters
    linear = None
    if layout["linear"]:
        intercepts = np.asarray(state["linear"]["intercepts"], dtype=np.float64)
        if intercepts.shape != (len(models),) or not np.isfinite(intercepts).all():
            raise ValueError("linear intercepts are not one finite number a model")
        linear = Linear(array[start : start + len(models)], intercepts, float(state["linear"]["share"]))
        start += len(models)
    limit, calibration = state["novelty_distance"], state["calibration"]
    digests = calibration["query_digests"]
    return FittedRouter(
        parameters=parameters,
        models=tuple(models),
        clusterings=tuple(clusterings),
        linear=linear,
        novelty_quantile=None if state["novelty_quantile"] is None else float(state["novelty_quantile"]),
        novelty_distance=math.inf if limit is None else float(limit),
        novelty_reach=_reach(state["novelty_reach"], max(clusters)),
        calibration=Calibration(
            n_rows=int(calibration["rows"]),
            curve=tuple(calibration["curve"]),
            cluster_tasks=tuple(calibration["cluster_tasks"]),
            examples=tuple(map(tuple, calibration["examples"])),
            tasks=tuple(calibration["tasks"]),
            by_task=_stats(
                calibration["task_statistics"],
                (len(calibration["tasks"]), len(models)),
                "statistics by task have another shape than tasks",
            ),
            query_digests=None
            if digests is None
            else np.frombuffer(base64.b64decode(digests, validate=True), dtype="<u8"),
            # 0.1.0 wrote neither
            subsets=tuple(
                Subset(tuple(subset["models"]), subset["score"])
                for subset in calibration.get("subsets") or ()
            ),
            cost_advice=CostAdvice(**calibration["cost_advice"]) if calibration.get("cost_advice") else None,
        ),
        embedder=Embedder(state["embedding"]["name"], array[start] if layout["probe"] else None),
        policy=VotePolicy.from_dict(state["policy"]) if state.get("policy") else None,
    )
