"""Figures of a report: each function draws plain data with matplotlib (extra `plots`) and returns the figure.

One drawing serves the page and the PNG files: colours are named by their part, and for the page each name
becomes a CSS variable, so that the same figure is readable on light and dark paper. The palette is Okabe
and Ito's, which colour-blind readers can tell apart.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from langchain_avengers.errors import AvengersError
from langchain_avengers.evaluation.stats import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Palette:
    """What is drawn in which colour."""

    ink: str
    muted: str
    grid: str
    paper: str
    accent: str
    other: str
    third: str
    fourth: str
    fifth: str


LIGHT = Palette(
    "#1c2430", "#5c6672", "#dfe3e8", "#ffffff", "#0072b2", "#c95100", "#00805c", "#8a5a00", "#a8447f"
)
_MARKS = Palette(
    *(f"#0{number}0a0{number}" for number in range(1, 10))
)  # no drawing uses these for themselves


WIDTH = 4.6
"""Inches: as wide as a phone, where the text is then about 9 pixels high; shown larger where there is room."""


class FiguresMissingError(AvengersError, ImportError):
    """The drawing library is not installed."""


def svg(draw: Any, name: str, title: str, description: str) -> str:
    """A figure as an inline `<svg>` element whose colours are the page's CSS variables.

    Args:
        draw: Called with a palette, gives the figure.
        name: Unique on the page: prefix of every id in the drawing.
        title: Accessible name.
        description: What there is to see, for who cannot.
    """
    buffer = io.StringIO()
    with _style():
        draw(_MARKS).savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for part in fields(Palette):
        text = text.replace(getattr(_MARKS, part.name), f"var(--{part.name})")
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r'(href="|url\()#', rf"\1#{name}-", text)
    width = float(re.search(r'viewBox="0 0 ([\d.]+)', text).group(1))  # type: ignore[union-attr]  # always there
    named = f'role="img" aria-labelledby="{name}-title {name}-desc"'
    pixels = width * 4 / 3
    narrow = width < 72 * (WIDTH + 0.3)  # wider ones scroll in their box
    size = f"width:{1.25 * pixels:.0f}px;max-width:100%" if narrow else f"width:{pixels:.0f}px"
    opening = f'<svg {named} style="{size}"'
    text = re.sub(r'<svg( [^>]*?)? (?:height|width)="[^"]*pt"', r"<svg\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) (?:height|width)="[^"]*pt"', r"\1", text, count=1)
    text = text.replace("<svg", opening, 1)
    head = (
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(description)}</desc>'
    )
    return re.sub(r"(<svg[^>]*>)", lambda match: match.group(1) + head, text, count=1)


def png(draw: Any, path: Any) -> None:
    """Write a figure as PNG, on white paper, 200 dots per inch."""
    with _style():
        draw(LIGHT).savefig(path, format="png", dpi=200, facecolor=LIGHT.paper)


def standings(rows: Sequence[tuple[str, str, Estimate]], ink: Palette) -> Figure:
    """AvgAcc of everything compared, best at the top, with intervals.

    Args:
        rows: (name, kind, AvgAcc) in the order drawn.
        ink: Colours.
    """
    figure, axes = _canvas(WIDTH, 0.5 + 0.23 * len(rows), ink)
    color = {"router": ink.accent, "baseline": ink.other, "oracle": ink.third, "model": ink.muted}
    marker = {"router": "D", "baseline": "s", "oracle": "^", "model": "o"}
    for position, (_, kind, estimate) in enumerate(rows):
        low, high = 100 * estimate.low, 100 * estimate.high
        axes.plot([low, high], [position, position], color=color[kind], lw=1.6, solid_capstyle="butt")
        axes.plot(
            100 * estimate.value, position, marker[kind], color=color[kind], ms=7 if kind == "router" else 5
        )
        place = max(high, 100 * estimate.value), position
        label = f"{100 * estimate.value:.1f}"
        axes.annotate(
            label,
            place,
            (7, 0),
            textcoords="offset points",
            va="center",
            color=ink.ink,
            fontsize=8,
            bbox={"facecolor": ink.paper, "edgecolor": "none", "pad": 0.8},
        )
    routed = next((100 * e.value for name, kind, e in rows if kind == "router" and name == "Router"), None)
    if routed is not None:
        axes.axvline(routed, color=ink.accent, lw=0.7, ls=(0, (4, 3)), zorder=0)
    axes.set_yticks(range(len(rows)), clipped([name for name, _, _ in rows]))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.margins(x=0.12)
    axes.set_xlabel("AvgAcc, percent")
    _bare(axes, ink, grid="x")
    return figure


def differences(rows: Sequence[tuple[str, Estimate]], ink: Palette) -> Figure:
    """Router minus Best Single, one line a part, with intervals about zero."""
    figure, axes = _canvas(WIDTH, 0.6 + 0.23 * len(rows), ink)
    for position, (_, estimate) in enumerate(rows):
        color = {1: ink.accent, 0: ink.muted, -1: ink.other}[estimate.sign]
        axes.plot([100 * estimate.low, 100 * estimate.high], [position] * 2, color=color, lw=1.6)
        axes.plot(100 * estimate.value, position, "o", color=color, ms=5)
    axes.axvline(0, color=ink.ink, lw=0.8)
    axes.set_yticks(range(len(rows)), clipped([name for name, _ in rows]))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel("router minus Best Single, points")
    _bare(axes, ink, grid="x")
    return figure


def heat_map(
    scores: Floats,
    errors: Floats,
    counts: Floats,
    models: Sequence[str],
    clusters: Sequence[str],
    ink: Palette,
) -> Figure:
    """Clusters by models: score in the cell, its standard error below, rows behind it as bars on the right.

    Args:
        scores: Shape (M, K), in [0, 1]; NaN is blank.
        errors: Shape (M, K). Standard errors; NaN when unknown.
        counts: Shape (K,). Calibration rows of the clusters.
        models: M names.
        clusters: K names.
        ink: Colours.
    """
    from matplotlib import colormaps
    from matplotlib.colors import Normalize

    figure, (axes, side) = _side_by_side(
        1.0 + 0.08 * max(map(len, clusters)) + 0.44 * len(models),
        1.4 + 0.36 * len(clusters),
        (0.44 * len(models), 0.7),
        ink,
    )
    shown = np.ma.masked_invalid(100 * np.asarray(scores, float).T)
    norm = Normalize(float(shown.min()) if shown.count() else 0, float(shown.max()) if shown.count() else 100)
    colors = colormaps["cividis"]
    axes.pcolormesh(
        np.arange(len(models) + 1) - 0.5,
        np.arange(len(clusters) + 1) - 0.5,
        shown,
        cmap=colors,
        norm=norm,
        edgecolors=ink.paper,
        linewidth=1.2,
    )
    for row in range(len(clusters)):
        best = np.nanmax(scores[:, row])
        for column in range(len(models)):
            score, error = scores[column, row], errors[column, row]
            if np.isnan(score):
                continue
            red, green, blue, _ = colors(norm(100 * score))
            color = "#ffffff" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else "#000000"
            weight = "bold" if score >= best - 1e-12 else "normal"
            style: Any = {"ha": "center", "va": "center", "color": color}
            axes.text(column, row - 0.12, f"{100 * score:.0f}", fontsize=8, weight=weight, **style)
            if not np.isnan(error):
                axes.text(column, row + 0.26, f"±{100 * error:.0f}", fontsize=6.5, **style)
    axes.set_yticks(range(len(clusters)), list(clusters))
    axes.set_xticks(range(len(models)), clipped(models, 22), rotation=55, ha="right", rotation_mode="anchor")
    axes.set_ylim(len(clusters) - 0.5, -0.5)
    axes.tick_params(length=0)
    side.barh(range(len(clusters)), counts, color=ink.muted, height=0.6)
    for row, count in enumerate(counts):
        side.text(count, row, f" {count:,.0f}", ha="left", va="center", color=ink.ink, fontsize=7)
    side.set_ylim(axes.get_ylim())
    side.set_xlim(0, 1.9 * max(1.0, float(np.max(counts))))
    side.set_xlabel("rows")
    side.tick_params(bottom=False, labelbottom=False, left=False, labelleft=False)
    for spine in (*axes.spines.values(), *side.spines.values()):
        spine.set_visible(False)
    return figure


def cluster_map(
    points: Floats, groups: Sequence[str], centroids: Floats, ink: Palette, *, variance: float
) -> Figure:
    """Queries and centroids on the plane of the two main directions.

    Args:
        points: Shape (n, 2). Queries.
        groups: The task of each; at most five are told apart by colour and form, the rest is drawn as
            "other".
        centroids: Shape (K, 2).
        ink: Colours.
        variance: Share of the queries' variance on the plane, in [0, 1].
    """
    figure, axes = _canvas(WIDTH, 3.8, ink)
    names, count = np.unique(np.asarray(groups), return_counts=True)
    leading = [str(name) for name in names[np.argsort(-count, kind="stable")][: 5 if len(names) <= 5 else 4]]
    forms = list(zip((ink.accent, ink.other, ink.third, ink.fourth, ink.fifth), "o^sDv", strict=True))
    labels = np.array([name if name in leading else "other" for name in groups])
    told = [*leading, *(["other"] if len(names) > 5 else [])]
    for name, short, (color, form) in zip(told, clipped(told, 18), forms, strict=False):
        rows = labels == name
        axes.plot(*points[rows].T, form, color=color, ms=2.6, alpha=0.45, mew=0, ls="", label=short)
    for place, (x, y) in enumerate(centroids):
        axes.text(
            x,
            y,
            str(place),
            ha="center",
            va="center",
            fontsize=8 if len(centroids) <= 30 else 6.5,
            color=ink.ink,
            weight="bold",
            bbox={
                "boxstyle": "round,pad=0.15",
                "facecolor": ink.paper,
                "edgecolor": ink.muted,
                "lw": 0.6,
                "alpha": 0.85,
            },
            zorder=5,
        )
    axes.set_xlabel(f"first main direction (both: {variance:.0%} of the variance)")
    axes.set_ylabel("second")
    axes.set_xticks([])
    axes.set_yticks([])
    _bare(axes, ink)
    if len(names) > 1:
        legend = axes.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, -0.07),
            ncols=3,
            frameon=False,
            markerscale=2.5,
            handletextpad=0.2,
            columnspacing=1.2,
        )
        for text in legend.get_texts():
            text.set_color(ink.ink)
        for handle in legend.legend_handles:
            if handle is not None:
                handle.set_alpha(1)
    return figure


def k_curve(values: Sequence[tuple[int, float, float]], chosen: int, ink: Palette) -> Figure:
    """Cross-validated score by number of clusters.

    Args:
        values: (K, mean score, standard error over folds).
        chosen: The K that was taken.
        ink: Colours.
    """
    figure, axes = _canvas(WIDTH, 2.4, ink)
    k, score, error = (np.array(column, float) for column in zip(*values, strict=True))
    axes.fill_between(k, 100 * (score - error), 100 * (score + error), color=ink.accent, alpha=0.15, lw=0)
    axes.plot(k, 100 * score, "o-", color=ink.accent, ms=4, lw=1.4)
    axes.axvline(chosen, color=ink.other, lw=1, ls=(0, (4, 3)))
    axes.text(chosen, 1.01, f" K={chosen}", color=ink.other, fontsize=9, transform=axes.get_xaxis_transform())
    axes.set_xscale("log", base=2)
    axes.set_xticks(k, [f"{value:.0f}" for value in k])
    axes.minorticks_off()
    axes.set_xlabel("clusters")
    axes.set_ylabel("cross-validated score, percent")
    _bare(axes, ink, grid="y")
    return figure


def front(
    points: Sequence[tuple[float, float]],
    router: tuple[Estimate, Estimate],
    models: Sequence[tuple[str, float, float]],
    beside: Sequence[tuple[str, float, float]],
    best_single: str,
    advised: tuple[float, float] | None,
    ink: Palette,
) -> Figure:
    """Accuracy by cost: the router at every weight of cost, single models, Random and Oracle.

    Args:
        points: (cost, accuracy) of the router, dollars per query and in [0, 1].
        router: Cost and accuracy of the router as it is, with intervals.
        models: (name, cost, accuracy) of the models.
        beside: (name, cost, accuracy) of what else is shown.
        best_single: Name of Best Single.
        advised: (cost, accuracy) at the advised weight of cost.
        ink: Colours.
    """
    figure, axes = _canvas(WIDTH, 3.8, ink)
    costs = [cost for cost, _ in points] + [cost for _, cost, _ in (*models, *beside)]
    positive = [cost for cost in costs if cost > 0]
    if positive and min(costs) > 0 and max(positive) / min(positive) > 20:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
    # a cost between two points buys no more than the cheaper one gives: steps, not lines
    reached = np.array(sorted(points), float)
    best = np.maximum.accumulate(reached[:, 1])
    axes.step(1000 * reached[:, 0], 100 * best, where="post", color=ink.accent, lw=1.3, label="router")
    axes.plot(*(np.array([1000, 100]) * reached).T, "o", color=ink.accent, ms=2.8, alpha=0.7)
    cost, accuracy = router
    place = 1000 * cost.value, 100 * accuracy.value
    spans = [
        [[1000 * (cost.value - cost.low)], [1000 * (cost.high - cost.value)]],
        [[100 * (accuracy.value - accuracy.low)], [100 * (accuracy.high - accuracy.value)]],
    ]
    axes.errorbar(
        *place, xerr=spans[0], yerr=spans[1], fmt="D", color=ink.accent, ms=6, elinewidth=0.9, zorder=4
    )
    labels = [("router", *place, ink.accent)]
    for name, price, value in sorted(models, key=lambda model: (model[0] != best_single, -model[2])):
        chosen = name == best_single
        color = ink.other if chosen else ink.muted
        axes.plot(
            1000 * price,
            100 * value,
            "s" if chosen else "o",
            color=color,
            ms=5,
            mfc=color if chosen else "none",
        )
        if chosen:
            axes.axhline(100 * value, color=ink.other, lw=0.8, ls=(0, (4, 3)), zorder=0)
        labels.append((name, 1000 * price, 100 * value, ink.other if chosen else ink.ink))
    for name, price, value in beside:
        axes.plot(1000 * price, 100 * value, "^", color=ink.third, ms=5)
        labels.append((name, 1000 * price, 100 * value, ink.third))
    if advised is not None:
        axes.plot(1000 * advised[0], 100 * advised[1], "o", ms=11, mfc="none", mec=ink.ink, mew=1.2)
        labels.append(("advised", 1000 * advised[0], 100 * advised[1], ink.ink))
    axes.margins(x=0.14, y=0.12)
    axes.set_xlabel("US dollars per 1,000 queries")
    axes.set_ylabel("AvgAcc, percent")
    _bare(axes, ink, grid="both")
    short = clipped([text for text, *_ in labels], 24)
    corners = np.repeat(np.column_stack([1000 * reached[:, 0], 100 * best]), 2, axis=0)
    steps = np.column_stack([corners[1:, 0], corners[:-1, 1]])
    _label(axes, [(text, *rest[1:]) for text, rest in zip(short, labels, strict=True)], _along(axes, steps))
    return figure


def calls(curve: Sequence[tuple[float, float]], ink: Palette) -> Figure:
    """Accuracy by the share of the queries that leave Best Single.

    Args:
        curve: (share, AvgAcc), both in [0, 1], by rising share.
        ink: Colours.
    """
    figure, axes = _canvas(WIDTH, 2.6, ink)
    share, accuracy = (100 * np.array(column, float) for column in zip(*curve, strict=True))
    axes.axhline(accuracy[0], color=ink.other, lw=0.8, ls=(0, (4, 3)))
    axes.plot(share, accuracy, "-", color=ink.accent, lw=1.5)
    axes.plot(share[-1], accuracy[-1], "D", color=ink.accent, ms=6)
    axes.plot(share[0], accuracy[0], "s", color=ink.other, ms=5)
    note: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8}
    paper = {"facecolor": ink.paper, "edgecolor": "none", "pad": 0.8, "alpha": 0.8}
    axes.annotate("Best Single", (share[0], accuracy[0]), (6, -10), color=ink.other, bbox=paper, **note)
    axes.annotate(
        "router", (share[-1], accuracy[-1]), (0, 9), color=ink.accent, ha="center", bbox=paper, **note
    )
    axes.set_xlabel("percent of the queries that leave Best Single")
    axes.set_ylabel("AvgAcc, percent")
    axes.margins(x=0.06, y=0.15)
    _bare(axes, ink, grid="both")
    return figure


def traffic(rows: Sequence[tuple[str, float, float]], ink: Palette) -> Figure:
    """Share of the queries each model is chosen for, and the share of them it is the best answer to.

    Args:
        rows: (name, share chosen, share in which no model scores higher), in [0, 1].
        ink: Colours.
    """
    figure, axes = _canvas(WIDTH, 0.75 + 0.26 * len(rows), ink)
    positions = np.arange(len(rows))
    axes.barh(positions, [100 * share for _, share, _ in rows], color=ink.accent, height=0.62, label="chosen")
    axes.plot(
        [100 * best for _, _, best in rows],
        positions,
        "d",
        color=ink.other,
        ms=5,
        ls="",
        label="no model scores higher",
    )
    for position, (_, share, _) in enumerate(rows):
        axes.text(100 * share, position, f" {100 * share:.0f}", va="center", fontsize=8, color=ink.ink)
    axes.set_yticks(positions, clipped([name for name, _, _ in rows]))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel("percent of the queries")
    _bare(axes, ink, grid="x")
    _legend(axes, ink)
    return figure


def reliability(bins: Sequence[tuple[float, float, float, int]], ink: Palette) -> Figure:
    """Accuracy by confidence of the vote.

    Args:
        bins: (mean confidence, accuracy, standard error, rows) of each bin that holds rows.
        ink: Colours.
    """
    figure, axes = _canvas(3.8, 3.4, ink)
    axes.plot([0, 100], [0, 100], color=ink.muted, lw=0.8, ls=(0, (4, 3)))
    confidence, accuracy, error, count = (np.array(column, float) for column in zip(*bins, strict=True))
    axes.errorbar(
        100 * confidence, 100 * accuracy, yerr=100 * error, fmt="none", ecolor=ink.accent, elinewidth=1.3
    )
    axes.scatter(
        100 * confidence, 100 * accuracy, s=20 + 180 * count / count.max(), color=ink.accent, zorder=3
    )
    axes.set_xlim(-2, 103)
    axes.set_ylim(-2, 103)
    axes.set_xlabel("confidence of the vote, percent")
    axes.set_ylabel("right, percent")
    _bare(axes, ink, grid="both")
    return figure


def drift(expected: Floats, observed: Floats, clusters: Sequence[str], ink: Palette) -> Figure:
    """Share of each cluster in the calibration rows and in the new queries; of many clusters, those that differ most.

    Args:
        expected: Shape (K,). Shares in calibration, summing to 1.
        observed: Shape (K,). Shares of the new queries.
        clusters: K names.
        ink: Colours.
    """
    shown = np.sort(np.argsort(-np.abs(expected - observed), kind="stable")[:24])
    figure, axes = _canvas(WIDTH, 0.9 + 0.26 * len(shown), ink)
    positions = np.arange(len(shown))
    axes.barh(positions - 0.2, 100 * expected[shown], height=0.38, color=ink.muted, label="calibration")
    axes.barh(positions + 0.2, 100 * observed[shown], height=0.38, color=ink.accent, label="new queries")
    axes.set_yticks(positions, [clusters[k] for k in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlabel("percent of the queries")
    _bare(axes, ink, grid="x")
    _legend(axes, ink)
    return figure


def clipped(names: Sequence[str], length: int = 30) -> list[str]:
    """Names of at most so many characters, cut in the middle; of more, where they would not differ otherwise."""
    for size in range(length, max(map(len, names), default=0) + 1, 2):
        for tail in sorted(range(4, size - 4), key=lambda tail: abs(2 * tail - size)):
            head = size - 1 - tail
            short = [name if len(name) <= size else f"{name[:head]}…{name[-tail:]}" for name in names]
            if len(set(short)) == len(set(names)):
                return short
    return list(names)


def _along(axes: Axes, points: Floats) -> Floats:
    """Places along a line through these points, close enough that no label fits between two; in pixels."""
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]  # axes of a figure
    corners = axes.transData.transform(points)
    pieces = [
        np.linspace(one, other, 2 + int(np.abs(other - one).max() / 5)) for one, other in pairwise(corners)
    ]
    return np.vstack(pieces) if pieces else corners


def _label(axes: Axes, labels: Sequence[tuple[str, float, float, str]], line: Floats) -> None:
    """Write each (text, x, y, colour) near its point, on the first free place of a widening circle.

    A free place is inside the frame and hides no label, no point and no part of the line (pixels, shape (n, 2)).
    A label far from its point is joined to it; when no place is free, it stands at the point.
    """
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]  # axes of a figure
    frame = axes.get_window_extent()
    marks = np.vstack([axes.transData.transform([(x, y) for _, x, y, _ in labels]), line])
    written: list[Any] = []
    for text, x, y, color in labels:
        style: dict[str, Any] = {
            "textcoords": "offset points",
            "fontsize": 7.5,
            "color": color,
            "va": "center",
        }
        for radius, angle in [(r, a) for r in (8, 14, 22, 32, 46, 62) for a in range(0, 360, 30)]:
            dx, dy = radius * np.cos(np.radians(angle)), radius * np.sin(np.radians(angle))
            style["ha"] = "left" if dx > 1 else "right" if dx < -1 else "center"
            note = axes.annotate(text, (x, y), (dx, dy), **style)
            box = note.get_window_extent()
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            near = (marks > [box.x0 - 1, box.y0 - 1]) & (marks < [box.x1 + 1, box.y1 + 1])
            if inside and not near.all(axis=1).any() and not any(box.overlaps(other) for other in written):
                written.append(box)
                if radius > 14:
                    arrow = {"arrowstyle": "-", "color": color, "lw": 0.5, "shrinkB": 3}
                    axes.annotate("", (x, y), (dx, dy), textcoords="offset points", arrowprops=arrow)
                break
            note.remove()
        else:
            axes.annotate(text, (x, y), (6, 6), **style)


def _style() -> Any:
    try:
        from matplotlib import rc_context
    except ImportError:
        raise FiguresMissingError(
            "figures need matplotlib: pip install 'langchain-avengers[plots]'"
        ) from None
    settings: dict[Any, Any] = {
        "svg.fonttype": "none",  # text stays text: it takes the page's font, and is found and read aloud
        "svg.hashsalt": "avengers",
        "font.size": 9,
        "axes.labelsize": 9,
        "legend.fontsize": 8.5,
    }
    return rc_context(settings)


def _canvas(width: float, height: float, ink: Palette) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    _color(axes, ink)
    return figure, axes


def _side_by_side(
    width: float, height: float, ratios: tuple[float, float], ink: Palette
) -> tuple[Figure, tuple[Axes, Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    main, side = figure.subplots(1, 2, width_ratios=ratios)
    _color(main, ink)
    _color(side, ink)
    return figure, (main, side)


def _color(axes: Axes, ink: Palette) -> None:
    axes.set_facecolor("none")
    axes.tick_params(colors=ink.muted, labelcolor=ink.ink, length=3, width=0.7)
    axes.xaxis.label.set_color(ink.muted)
    axes.yaxis.label.set_color(ink.muted)
    for spine in axes.spines.values():
        spine.set_color(ink.muted)
        spine.set_linewidth(0.7)


def _bare(axes: Axes, ink: Palette, *, grid: str | None = None) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    if grid is not None:
        axes.grid(axis=grid, color=ink.grid, lw=0.7)  # type: ignore[arg-type]  # matplotlib's own literal
        axes.set_axisbelow(True)


def _legend(axes: Axes, ink: Palette) -> None:
    legend = axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0)
    for text in legend.get_texts():
        text.set_color(ink.ink)
