"""Studies as figures: one HTML page, and PNG files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from langchain_avengers._files import write_whole
from langchain_avengers.evaluation import figures
from langchain_avengers.evaluation.report import render, write_pictures
from langchain_avengers.evaluation.report_parts import (
    Bullets,
    Cell,
    Pair,
    Picture,
    Section,
    Table,
    named,
    score,
    signed,
)
from langchain_avengers.evaluation.stats import Estimate
from langchain_avengers.evaluation.studies import Ablation, Row

TITLES = {
    "clusters": "Number of clusters",
    "clusterer": "Clusterer",
    "scoring": "Scoring rule",
    "top_k": "Clusters that decide together, and the rank rule",
    "models": "Number of models",
    "size": "Share of the calibration rows",
    "tasks": "Each task left out in turn",
    "embedder": "Embedding model",
    "strategy": "Strategy",
}


def write_study_report(
    found: Ablation,
    out: str | os.PathLike[str],
    *,
    title: str = "Studies",
    png: str | os.PathLike[str] | None = None,
) -> None:
    """Write what `ablate` found as one HTML page with a figure for each study.

    Args:
        found: The studies.
        out: The HTML file.
        title: Title of the page.
        png: Folder into which every figure is also written as a PNG file.

    Raises:
        FiguresMissingError: matplotlib or Jinja2 is not installed (extra `plots`).
    """
    sections = [_section(name, found.study(name)) for name in dict.fromkeys(row.study for row in found.rows)]
    if found.notes:
        sections.append(Section("notes", "Notes", (Bullets(found.notes),)))
    write_whole(Path(out), render(None, sections, title, ""))
    if png is not None:
        write_pictures(sections, png)


def _section(study: str, rows: Sequence[Row]) -> Section:
    title = TITLES[study]
    if study == "tasks":
        picture = Picture(
            study,
            title,
            "Router minus Best Single on the rows of a task that neither was fitted on; 95 % intervals over seeds.",
            partial(figures.differences, [(row.setting, _closed(row.over_best_single)) for row in rows]),
        )
    else:
        picture = Picture(
            study,
            title,
            "AvgAcc by setting, with 95 % intervals over seeds. Diamond and dashed line: all defaults.",
            partial(
                figures.standings,
                [
                    ("Router", "router", _closed(row.avg_acc))
                    if row.setting == "default"
                    else (row.setting, "model", _closed(row.avg_acc))
                    for row in rows
                ],
            ),
        )
    header = ("", "AvgAcc, %", "minus default, points", "minus Best Single, points", "more")
    cells = tuple(
        (
            named(row.setting),
            score(row.avg_acc),
            signed(row.difference) if row.difference else Cell(""),
            signed(row.over_best_single),
            Cell(", ".join(f"{name} {value:.4g}" for name, value in row.detail.items() if value == value)),
        )
        for row in rows
    )
    seeds = f"{rows[0].seeds} seeds" if rows[0].seeds > 1 else "one seed, so no intervals"
    table = Table(f"{study}-table", f"Means over {seeds}.", header, cells)
    return Section(study, title, (Pair(picture, table),))


def _closed(estimate: Estimate) -> Estimate:
    """The estimate with its open interval closed on its value, so that it can be drawn."""
    if estimate.low == estimate.low:
        return estimate
    return Estimate(estimate.value, estimate.value, estimate.value)
