"""Means over tasks, and intervals that hold what they claim when rows are few.

The quantity is always a mean over strata (tasks) of the mean of each stratum's rows. Rows are drawn at random within a
stratum; the strata are fixed. Both sides of a difference are measured on the same rows.

| quantity | interval |
|---|---|
| mean of scores in [0, 1] | Clopper and Pearson's, with an effective number of rows (Korn and Graubard 1998) |
| difference of two such means | square-and-add of Wilson's intervals of gains and losses (Newcombe 1998) |
| mean cost, ratio of two costs | Student's t on the logarithm, fewer degrees of freedom since costs are skewed |
| anything else | percentile bootstrap, rows drawn again within strata |

A stratum's variance is shrunk to the variance of all strata. Tasks of one or two rows therefore neither look certain
nor decide the result, and an interval never has zero width. `benchmarks/coverage.py` measures the coverage.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from langchain_avengers._arrays import known_mean, ratio

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_CELLS = 4_000_000  # of the resampling-weight matrix held at a time: 32 MB
_SHRINK = 2  # rows that the variance of all strata counts for in each stratum
_SKEW = 3.0  # 2 / (kurtosis - 1) of the rows tell about a variance: a third of them at the kurtosis of costs, about 7


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and its interval.

    Attributes:
        value: As measured on the rows themselves; NaN when nothing was measured.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, resampled: ArrayLike, confidence: float = 0.95) -> Estimate:
        """The estimate of a measured value from its bootstrap resamples, shape (n_boot,)."""
        return cls(float(value), *interval(resampled, confidence))

    @property
    def known(self) -> bool:
        """Whether there is a number at all."""
        return self.value == self.value

    @property
    def sign(self) -> int:
        """1 or -1 when the whole interval is above or below 0; else 0: not told apart from none."""
        return int(self.low > 0) - int(self.high < 0)

    def to_dict(self) -> dict[str, float | None]:
        """JSON-safe: NaN becomes None."""
        return {name: plain(getattr(self, name)) for name in ("value", "low", "high")}

    def points(self, *, signed: bool = False) -> str:
        """As percentage points with the interval: `"+1.20 [+0.31, +2.05]"`."""
        if not self.known:
            return "-"
        form = "+.2f" if signed else ".2f"
        return f"{100 * self.value:{form}} [{100 * self.low:{form}}, {100 * self.high:{form}}]"


UNKNOWN = Estimate(float("nan"), float("nan"), float("nan"))


def over_tasks(values: ArrayLike, strata: ArrayLike) -> float:
    """Mean over strata of the mean of each stratum's known values; NaN when none is known.

    Args:
        values: Shape (n,). NaN is left out.
        strata: Shape (n,). Of any kind that compares.
    """
    known = ~np.isnan(array := np.asarray(values, float))
    if not known.any():
        return float("nan")
    codes = np.unique(np.asarray(strata)[known], return_inverse=True)[1]
    return float((np.bincount(codes, array[known]) / np.bincount(codes)).mean())


def mean_estimate(values: ArrayLike, strata: ArrayLike, confidence: float = 0.95) -> Estimate:
    """The mean over strata of scores, with an exact interval.

    Args:
        values: Shape (n,), in [0, 1]; NaN is left out.
        strata: Shape (n,). The task of each row.
        confidence: Of the interval.
    """
    sample = _Sample.of(values, strata)
    if sample is None:
        return UNKNOWN
    return Estimate(sample.mean, *_exact(sample, confidence))


def difference_estimate(
    ours: ArrayLike, theirs: ArrayLike, strata: ArrayLike, confidence: float = 0.95
) -> Estimate:
    """The mean over strata of `ours - theirs`, paired by row.

    Args:
        ours: Shape (n,), in [0, 1].
        theirs: Shape (n,), in [0, 1]. Rows in which one of the two is NaN are left out.
        strata: Shape (n,). The task of each row.
        confidence: Of the interval.
    """
    return _signed(np.asarray(ours, float) - np.asarray(theirs, float), strata, 1.0, confidence)


def gain_estimate(
    ours: ArrayLike, theirs: ArrayLike, strata: ArrayLike, confidence: float = 0.95
) -> Estimate:
    """The relative gain `mean(ours) / mean(theirs) - 1` on rows both have; unknown over a mean of 0.

    The interval is that of `ours - (1 + gain) theirs`, whose mean is 0, over the mean of `theirs` (Fieller).
    """
    mine, other = _both(ours, theirs)
    below = over_tasks(other, strata)
    if not below > 0:
        return UNKNOWN
    times = over_tasks(mine, strata) / below
    left = _signed(mine - times * other, strata, max(1.0, times), confidence)
    return Estimate(times - 1, times - 1 + left.low / below, times - 1 + left.high / below)


def cost_estimate(values: ArrayLike, strata: ArrayLike, confidence: float = 0.95) -> Estimate:
    """The mean over strata of costs, with a t interval of its logarithm."""
    sample = _Sample.of(values, strata)
    if sample is None:
        return UNKNOWN
    if not sample.mean > 0:
        return Estimate(sample.mean, sample.mean, sample.mean)
    times = float(np.exp(_t(sample.df / _SKEW, confidence) * sample.variance**0.5 / sample.mean))
    return Estimate(sample.mean, sample.mean / times, sample.mean * times)


def saving_estimate(
    ours: ArrayLike, theirs: ArrayLike, strata: ArrayLike, confidence: float = 0.95
) -> Estimate:
    """The share of `theirs` that is saved, `1 - mean(ours) / mean(theirs)`; unknown over a mean of 0."""
    mine, other = _both(ours, theirs)
    above, below = over_tasks(mine, strata), over_tasks(other, strata)
    if not (above > 0 and below > 0):
        return Estimate(1.0, 1.0, 1.0) if below > 0 else UNKNOWN
    sample = _Sample.of(mine / above - other / below, strata)
    assert sample is not None
    times = float(np.exp(_t(sample.df / _SKEW, confidence) * sample.variance**0.5))
    return Estimate(1 - above / below, 1 - times * above / below, 1 - above / below / times)


def student(values: ArrayLike, confidence: float = 0.95) -> Estimate:
    """The mean of independent runs, such as seeds, with Student's t interval; open for a single run."""
    array = np.asarray(values, float)
    mean = float(array.mean())
    if len(array) < 2:
        return Estimate(mean, float("nan"), float("nan"))
    half = _t(len(array) - 1, confidence) * float(array.std(ddof=1)) / len(array) ** 0.5
    return Estimate(mean, mean - half, mean + half)


def rows_to_tell(difference: Estimate, n: int, worth: float) -> int:
    """How many more rows would narrow a difference's interval enough to decide about it.

    Enough is to exclude 0, or to exclude a gain of `worth`, whichever takes fewer rows. The interval narrows with the
    square root of the rows.

    Args:
        difference: A difference with an interval that includes 0.
        n: Rows behind it.
        worth: The smallest gain that matters.
    """
    half = max(difference.high - difference.value, difference.value - difference.low)
    far = max(abs(difference.value), abs(worth - difference.value))
    return max(1, round(n * ((half / far) ** 2 - 1))) if half == half else n


@dataclass(frozen=True, slots=True)
class _Sample:
    """A stratified sample's mean, the variance of that mean, and how well the variance is known.

    Attributes:
        mean: Mean over strata.
        variance: Of the mean.
        df: Degrees of freedom of `variance`.
        rows: Rows that a simple random sample needs for the precision of these strata, variances being equal.
        binary: All values are 0 or 1.
    """

    mean: float
    variance: float
    df: float
    rows: float
    binary: bool

    @classmethod
    def of(cls, values: ArrayLike, strata: ArrayLike) -> _Sample | None:
        array = np.asarray(values, float)
        known = ~np.isnan(array)
        if not known.any():
            return None
        array, codes = array[known], np.unique(np.asarray(strata)[known], return_inverse=True)[1]
        n = np.bincount(codes)
        means = np.bincount(codes, array) / n
        squares = np.bincount(codes, (array - means[codes]) ** 2)
        # strata of one row have no variance of their own: taken together they have
        alone = means[n == 1]
        freedom = int((n - 1).sum()) + max(len(alone) - 1, 0)
        total = squares.sum() + (((alone - alone.mean()) ** 2).sum() if len(alone) else 0.0)
        pooled = total / freedom if freedom else 0.25
        variance = (squares + _SHRINK * pooled) / (n - 1 + _SHRINK)
        df = (1 / n).sum() ** 2 / (1 / n**2 / (n - 1 + _SHRINK)).sum()
        return cls(
            mean=float(means.mean()),
            variance=float((variance / n).sum() / len(n) ** 2),
            df=float(max(1.0, min(df, freedom))),
            rows=float(len(n) ** 2 / (1 / n).sum()),
            binary=bool(np.isin(array, (0.0, 1.0)).all()),
        )


def _effective_rows(sample: _Sample, mean: float) -> float:
    """How many right-or-wrong rows, drawn at random, tell as much about the mean as this sample does."""
    spread = mean * (1 - mean)
    if not (sample.variance > 0 and spread > 0):
        return sample.rows
    # scores of several samples vary less than right or wrong does: they are worth more rows, but not any number
    return min(spread / sample.variance, sample.rows if sample.binary else 4 * sample.rows)


def _exact(sample: _Sample, confidence: float) -> tuple[float, float]:
    from scipy.special import betaincinv, ndtri

    mean, tail = min(max(sample.mean, 0.0), 1.0), (1 - confidence) / 2
    rows = _effective_rows(sample, mean) * (ndtri(1 - tail) / _t(sample.df, confidence)) ** 2
    right, wrong = mean * rows, rows - mean * rows
    low = betaincinv(right, wrong + 1, tail) if right > 0 else 0.0
    high = betaincinv(right + 1, wrong, 1 - tail) if wrong > 0 else 1.0
    return float(low), float(high)


def _wilson(sample: _Sample, confidence: float) -> tuple[float, float]:
    mean = min(max(sample.mean, 0.0), 1.0)
    rows, t = _effective_rows(sample, mean), _t(sample.df, confidence)
    middle = (mean + t * t / rows / 2) / (1 + t * t / rows)
    half = t / (1 + t * t / rows) * (mean * (1 - mean) / rows + t * t / rows**2 / 4) ** 0.5
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _signed(values: Floats, strata: ArrayLike, scale: float, confidence: float) -> Estimate:
    """The mean over strata of values in [-scale, scale]: gains minus losses, each with its Wilson interval."""
    whole = _Sample.of(values, strata)
    up = _Sample.of(np.where(np.isnan(values), np.nan, np.maximum(values, 0)) / scale, strata)
    down = _Sample.of(np.where(np.isnan(values), np.nan, np.maximum(-values, 0)) / scale, strata)
    if whole is None or up is None or down is None:
        return UNKNOWN
    (up_low, up_high), (down_low, down_high) = _wilson(up, confidence), _wilson(down, confidence)
    correlation = 0.0
    if up.variance > 0 and down.variance > 0:
        shared = (up.variance + down.variance - whole.variance / scale**2) / 2
        correlation = min(0.0, max(-1.0, shared / (up.variance * down.variance) ** 0.5))

    def reach(one: float, other: float) -> float:
        return scale * float(max(one**2 + other**2 - 2 * correlation * one * other, 0.0) ** 0.5)

    low = whole.mean - reach(up.mean - up_low, down_high - down.mean)
    high = whole.mean + reach(up_high - up.mean, down.mean - down_low)
    return Estimate(whole.mean, max(low, -scale), min(high, scale))


def _both(ours: ArrayLike, theirs: ArrayLike) -> tuple[Floats, Floats]:
    """The two with NaN wherever one of them is."""
    mine, other = np.asarray(ours, float), np.asarray(theirs, float)
    both = ~np.isnan(mine) & ~np.isnan(other)
    return np.where(both, mine, np.nan), np.where(both, other, np.nan)


def _t(df: float, confidence: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(max(1.0, df), (1 + confidence) / 2))


def stratum_means(
    values: ArrayLike, strata: ArrayLike, *, n_boot: int = 2000, seed: int = 0
) -> tuple[Floats, Floats]:
    """Means of each stratum's rows, as measured and over bootstrap resamples.

    Args:
        values: Shape (n, c). One column a quantity; NaN is "not measured" and left out of its column's mean.
        strata: Shape (n,). Stratum of each row: integers from 0.
        n_boot: Resamples. Each draws as many rows of a stratum as it has, with replacement, the same rows
            for all columns.
        seed: Seed of the resampling.

    Returns:
        The means, shape (strata, c), and the resampled means, shape (strata, n_boot, c); NaN where no row
        was measured.
    """
    columns = np.asarray(values, float)
    codes = np.asarray(strata)
    measured = ~np.isnan(columns)
    filled = np.where(measured, columns, 0.0)
    rng = np.random.default_rng(seed)
    n_strata = int(codes.max()) + 1 if codes.size else 0
    means = np.full((n_strata, columns.shape[1]), np.nan)
    resampled = np.full((n_strata, n_boot, columns.shape[1]), np.nan)
    for stratum in range(n_strata):
        rows = np.flatnonzero(codes == stratum)
        if not rows.size:
            continue
        value, known = filled[rows], measured[rows].astype(float)
        means[stratum] = ratio(value.sum(axis=0), known.sum(axis=0))
        step = max(1, _CELLS // rows.size)
        for start in range(0, n_boot, step):
            size = min(step, n_boot - start)
            drawn = rng.integers(rows.size, size=(size, rows.size))
            drawn += np.arange(size)[:, None] * rows.size
            times = (
                np.bincount(drawn.ravel(), minlength=size * rows.size).reshape(size, rows.size).astype(float)
            )
            resampled[stratum, start : start + size] = ratio(times @ value, times @ known)
    return means, resampled


def over_strata(means: Floats) -> Floats:
    """The unweighted mean over strata (axis 0), leaving out strata in which nothing was measured."""
    return np.asarray(known_mean(means, axis=0))


def interval(resampled: ArrayLike, confidence: float = 0.95) -> tuple[float, float]:
    """The percentile interval of resampled values, shape (n_boot,); NaN resamples are left out."""
    values = np.asarray(resampled, float)
    values = values[~np.isnan(values)]
    if not values.size:
        return float("nan"), float("nan")
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def jsonable(data: Any) -> Any:
    """Nested plain data as JSON holds it: tuples as lists, numbers that are none as None."""
    if isinstance(data, dict):
        return {key: jsonable(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [jsonable(value) for value in data]
    return plain(data) if isinstance(data, float) else data


def plain(value: float | None) -> float | None:
    """A float JSON can hold: None for None, NaN and the infinities."""
    return None if value is None or value != value or value in (float("inf"), float("-inf")) else float(value)
