"""The schema of `router.json`, version 2: every field with its type and range, and how their sizes fit together.

Nothing is converted: a number in quotes or a truth value in place of a number is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Finite = Annotated[float, Field(ge=-1e15, le=1e15)]
Positive = Annotated[float, Field(ge=0, le=1e15)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, le=10**12)]
Text = Annotated[str, Field(max_length=10_000_000)]  # with a limit, pydantic looks for half characters, too
Name = Annotated[str, Field(min_length=1, max_length=10_000)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class Statistics(_Part):
    """`ClusterStats`: each a list of K rows with M numbers."""

    counts: list[list[Positive]]
    sums: list[list[Finite]]
    squares: list[list[Finite]]
    cost_counts: list[list[Positive]]
    cost_sums: list[list[Positive]]
    lent_counts: list[list[Positive]]
    lent_sums: list[list[Finite]]

    def check(self, n_rows: int, n_models: int, wrong: str) -> None:
        """Refuse sums of another shape than (n_rows, n_models)."""
        for _, sums in self:
            if len(sums) != n_rows or any(len(row) != n_models for row in sums):
                raise ValueError(wrong)


class EmbeddingPart(_Part):
    """The embedder."""

    name: Name | None
    dimension: Annotated[int, Field(ge=1, le=10**7)]
    fingerprint: Annotated[str, Field(pattern="^[0-9a-f]{16}$")] | None


class ArrayPart(_Part):
    """What the rows of `centroids.npy` are, in order: each clustering's centroids, linear weights, the probe."""

    shape: Annotated[list[Count], Field(min_length=2, max_length=2)]
    clusters: Annotated[list[Annotated[int, Field(ge=1, le=10**9)]], Field(min_length=1)]
    weights: list[Share]
    linear: Count
    probe: Literal[0, 1]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class LinearPart(_Part):
    """The linear part; its weights are in the array."""

    share: Share
    intercepts: list[Finite]


class CurvePart(_Part):
    """`CurvePoint`."""

    n_clusters: Count
    score: Finite
    behind: Finite
    stderr: Finite


class SubsetPart(_Part):
    """`Subset`."""

    models: list[Name]
    score: Finite


class CostAdvicePart(_Part):
    """`CostAdvice`."""

    cost_weight: Share
    difference: Finite
    stderr: Finite
    saving: Finite


class CalibrationPart(_Part):
    """`Calibration`."""

    rows: Count
    curve: list[CurvePart]
    cluster_tasks: list[dict[Text, Count]]
    tasks: list[Text]
    task_statistics: Statistics
    examples: list[list[Text]]
    query_digests: Text | None
    subsets: list[SubsetPart] = Field(default_factory=list)
    cost_advice: CostAdvicePart | None = None
    correlations: list[list[Annotated[float, Field(ge=-1, le=1)]]] | None = None


class PlanPart(_Part):
    """`voting.policy.Plan`. What it makes a caller pay for is bounded."""

    first: Annotated[int, Field(ge=1, le=1000)] = 1
    most: Annotated[int, Field(ge=1, le=1000)] = 1
    stop: Finite = 2.0
    thrift: Finite = 0.0
    repeat: Finite = 0.05
    only: Name | None = None
    score: Finite = 0.0
    cost: Finite = 1.0
    answers: Finite = 1.0
    gain: Finite = 0.0
    stderr: Finite = 0.0


class WeightsPart(_Part):
    """`voting.policy.Weights`."""

    intercepts: list[Finite]
    slopes: list[Finite]
    shared: list[Finite]
    nothing: list[Finite]


class PolicyPart(_Part):
    """`voting.policy.VotePolicy`. Its models are those of calibration; the router's may have changed since."""

    models: Annotated[list[Name], Field(min_length=1)]
    weights: WeightsPart
    calibration: Annotated[list[Finite], Field(min_length=3, max_length=3)]
    plans: Annotated[list[PlanPart], Field(min_length=1)]
    draws: list[Annotated[int, Field(ge=0, le=1000)]]
    single: Name
    single_score: Finite
    n_rows: Count
    summary: Text

    @model_validator(mode="after")
    def _sizes(self) -> Self:
        if len(set(self.models)) != len(self.models) or len(self.draws) != len(self.models):
            raise ValueError("the vote's models are not all different, with one number of answers each")
        if not {self.single, *(plan.only for plan in self.plans)} <= {*self.models, None}:
            raise ValueError("the vote names a model that it does not have")
        return self


class RouterFile(_Part):
    """`router.json`. Fields for people alone (`scores`, `package_version`) are not read."""

    embedding: EmbeddingPart
    array: ArrayPart
    models: Annotated[list[Name], Field(min_length=1)]
    parameters: dict[str, Text | Annotated[int, Field(ge=0, le=10**12)] | Finite | None]
    novelty_quantile: Share | None
    novelty_distance: Positive | None
    novelty_reach: list[Positive] | None
    linear: LinearPart | None
    calibration: CalibrationPart
    statistics: list[Statistics]
    policy: PolicyPart | None = None

    @model_validator(mode="after")
    def _sizes(self) -> Self:
        models, layout, calibration = self.models, self.array, self.calibration
        if len(set(models)) != len(models):
            raise ValueError("models are not names, all different")
        if not len(self.statistics) == len(layout.weights) == len(layout.clusters):
            raise ValueError("statistics and clusters do not fit together")
        if layout.linear != (0 if self.linear is None else len(models)):
            raise ValueError("the layout of the array is none this version knows")
        rows = sum(layout.clusters) + layout.linear + layout.probe
        if layout.shape != [rows, self.embedding.dimension]:
            raise ValueError("the array does not have the rows or the dimension it is said to have")
        if (self.embedding.fingerprint is None) != (layout.probe == 0):
            raise ValueError("a fingerprint and the embedding that it is of go together")
        if self.embedding.name is not None and layout.probe == 0:
            raise ValueError("an embedder is named, but not its fingerprint")
        if self.linear is not None and len(self.linear.intercepts) != len(models):
            raise ValueError("linear intercepts are not one finite number a model")
        if self.novelty_reach is not None and len(self.novelty_reach) != max(layout.clusters):
            raise ValueError("novelty_reach is not one number for each cluster of the finest clustering")
        for n_clusters, sums in zip(layout.clusters, self.statistics, strict=True):
            sums.check(n_clusters, len(models), "statistics have another shape than clusters by models")
            if not all(map(any, zip(*sums.counts, strict=True))):
                raise ValueError("a model has no score in any cluster")
        known = calibration.correlations
        if known is not None and [len(row) for row in known] != [len(models)] * len(models):
            raise ValueError("correlations have another shape than models by models")
        calibration.task_statistics.check(
            len(calibration.tasks), len(models), "statistics by task have another shape than tasks by models"
        )
        if len(set(calibration.tasks)) != len(calibration.tasks):
            raise ValueError("tasks are not all different")
        for name, parts in (("cluster_tasks", calibration.cluster_tasks), ("examples", calibration.examples)):
            if len(parts) != layout.clusters[0]:
                raise ValueError(f"{name} has not one part for each cluster")
        if any(not set(subset.models) <= set(models) for subset in calibration.subsets):
            raise ValueError("a subset holds a model that the router does not have")
        return self


def read(fields: dict[str, Any]) -> RouterFile:
    """Check the parsed content of `router.json`.

    Raises:
        ValueError: A field is missing, or is not what it should be; the message is one line that names the first.
    """
    try:
        return RouterFile.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = _path(first["loc"])
        if first["type"] == "missing":
            raise ValueError(f"field {where!r} is missing") from None
        said = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"field {where!r}: {said}" if where else said) from None


def _path(location: Sequence[str | int]) -> str:
    return ".".join(map(str, location))[:200]
