"""An evaluation as tables for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from langchain_avengers.evaluation.evaluate import Evaluation


def tables(evaluation: Evaluation) -> list[RenderableType]:
    """The verdict, the standings, the metrics, tasks, clusters and notes, in the order printed."""

    def table(title: str, *columns: str, left: int = 1) -> Table:
        grid = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
        for number, column in enumerate(columns):
            grid.add_column(column, justify="left" if number < left else "right", overflow="fold")
        return grid

    priced = evaluation["Router"].cost is not None
    level = f"{100 * evaluation.confidence:g} %"
    main = table(
        f"Mean over {len(evaluation.tasks)} tasks, {evaluation.n} rows",
        "",
        f"AvgAcc [{level}]",
        "router - it",
    )
    if priced:
        main.add_column("$ / 1000", justify="right")
    for result in evaluation.results:
        detail = result.detail if result.kind in ("baseline", "router") else ""
        name = f"{result.name} ({detail})" if detail else result.name
        cells = [
            name,
            result.avg_acc.points(),
            result.difference.points(signed=True) if result.difference else "",
        ]
        cells += (
            [f"{1000 * result.cost.value:.4g}" if result.cost and result.cost.known else "-"]
            if priced
            else []
        )
        style = "bold" if result.kind == "router" else "dim" if result.kind == "oracle" else ""
        main.add_row(*cells, style=style)
    names = table("Metrics", "", f"value [{level}]")
    for name, metric in evaluation.metrics.items():
        if metric is None:
            cell = "-"
        elif name == "ParetoDist":
            cell = f"{metric.value:.4f} [{metric.low:.4f}, {metric.high:.4f}]"
        else:
            cell = metric.points(signed=name != "AvgAcc") + (" %" if name != "AvgAcc" else "")
        names.add_row(name, cell)
    parts: list[RenderableType] = []
    if (voted := evaluation.voted) is not None:
        said = f"Confidence of the vote: off by {100 * voted.confidence.error:.1f} points on average"
        said += f"; the share of answers that agree by {100 * voted.share.error:.1f}."
        parts.append(Text(said))
    for title, group in (("By task", evaluation.tasks), ("By cluster", evaluation.clusters)):
        grid = table(
            title, "", "n", "router", "Best Single", f"difference [{level}]", "best here", "chosen most"
        )
        for part in group:
            scores = [
                f"{100 * part.router:.1f}",
                f"{100 * part.best_single:.1f}",
                part.difference.points(signed=True),
            ]
            best = f"{part.best} {100 * part.best_score:.1f}"
            grid.add_row(part.name, str(part.n), *scores, best, f"{part.chosen} {part.chosen_share:.0%}")
        parts.append(grid)
    notes = [Text(f"Note: {note}", style="dim") for note in evaluation.notes]
    return [Text(evaluation.verdict, style="bold"), Text(), main, names, *parts, *notes]
