"""What a page is made of: sections of figures, tables and text, as plain data that the template draws."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from langchain_avengers._text import shorten
from langchain_avengers.evaluation.stats import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from langchain_avengers.evaluation.figures import Palette


@dataclass(frozen=True)
class Picture:
    """A figure.

    Attributes:
        name: Unique on the page; the PNG's file name.
        title: What it is.
        caption: How to read it, printed below; also read out to who cannot see it.
        draw: Given a palette, draws it.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[Palette], Figure]
    kind: str = field(default="picture", init=False)

    @property
    def svg(self) -> str:
        """The drawing as an inline SVG element."""
        from langchain_avengers.evaluation import figures

        return figures.svg(self.draw, self.name, self.title, self.caption)


@dataclass(frozen=True)
class Cell:
    """A table cell.

    Attributes:
        text: As shown.
        value: What it sorts by; the text when not given.
        tone: `"up"`, `"down"` or nothing.
        share: In [0, 1], shown as a shade; `None` for none.
        full: The unshortened text, shown on hovering and written to the CSV.
    """

    text: str
    value: float | None = None
    tone: str = ""
    share: float | None = None
    full: str = ""


@dataclass(frozen=True)
class Table:
    """A table that sorts by a click on a column's head and downloads as CSV.

    Attributes:
        name: Unique on the page; the CSV's file name.
        caption: What it shows.
        header: Heads of the columns.
        rows: Cells; the first one heads its row.
        classes: A class for each row, or none at all.
        folded: Text of the line under which the table is folded away; empty shows it.
    """

    name: str
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    classes: tuple[str, ...] = ()
    folded: str = ""
    kind: str = field(default="table", init=False)

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Whether each column holds numbers."""
        return tuple(
            all(row[column].value is not None or row[column].text in ("", "-") for row in self.rows)
            and column > 0
            for column in range(len(self.header))
        )

    @property
    def csv(self) -> str:
        """The table as a data address of a CSV file; a cell that a spreadsheet would run as a formula is quoted."""
        out = io.StringIO()
        write = csv.writer(out)
        write.writerow([head or self.name for head in self.header])
        for row in self.rows:
            texts = [cell.full or cell.text for cell in row]
            write.writerow(
                [
                    f"'{text}"
                    if text[:1] in ("=", "@") or (text[:1] in "+-" and cell.value is None and len(text) > 1)
                    else text
                    for text, cell in zip(texts, row, strict=True)
                ]
            )
        return "data:text/csv;charset=utf-8," + quote(out.getvalue())


@dataclass(frozen=True)
class Text:
    """A paragraph; `tone` may be `"note"`."""

    text: str
    tone: str = ""
    kind: str = field(default="text", init=False)


@dataclass(frozen=True)
class Heading:
    """A heading inside a section."""

    text: str
    kind: str = field(default="heading", init=False)


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: tuple[str, ...]
    kind: str = field(default="bullets", init=False)


@dataclass(frozen=True)
class Example:
    """Something named, what is known of it, and texts quoted: a cluster, or a question with its answers.

    Attributes:
        head: Its name.
        about: Facts on one line.
        quotes: (who says it, text) pairs; the first of a pair may be empty.
    """

    head: str
    about: str
    quotes: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Examples:
    """A list of examples; `title` heads it."""

    items: tuple[Example, ...]
    title: str = ""
    kind: str = field(default="examples", init=False)


Block = Picture | Table | Text | Heading | Bullets | Examples


@dataclass(frozen=True)
class Pair:
    """Two parts side by side where there is room."""

    left: Block
    right: Block
    kind: str = field(default="pair", init=False)


@dataclass(frozen=True)
class Section:
    """A section of the page."""

    name: str
    title: str
    parts: tuple[Block | Pair, ...]

    @property
    def pictures(self) -> list[Picture]:
        """The figures of the section, in order."""
        blocks = [
            b for part in self.parts for b in ((part.left, part.right) if isinstance(part, Pair) else (part,))
        ]
        return [block for block in blocks if isinstance(block, Picture)]


# -- numbers for people


def percent(value: float, digits: int = 1) -> str:
    """A share in [0, 1] as percent: `"58.9"`."""
    return "-" if value != value else f"{100 * value:.{digits}f}"


def dollars(value: float) -> str:
    """US dollars with three digits: `"$0.0123"`, `"$1.20"`, `"$1,230"`."""
    if value != value:
        return "-"
    if value == 0:
        return "$0"
    if value >= 100:
        return f"${value:,.0f}"
    return f"${value:,.{max(2, 2 - math.floor(math.log10(value)))}f}"


def number(value: float, text: str | None = None, *, share: float | None = None) -> Cell:
    """A cell that sorts by its number."""
    return Cell(percent(value) if text is None else text, None if value != value else value, share=share)


def score(estimate: Estimate) -> Cell:
    """A score in percent with its interval."""
    if not estimate.known:
        return Cell("-")
    return Cell(
        f"{percent(estimate.value)} [{percent(estimate.low)}, {percent(estimate.high)}]", estimate.value
    )


def signed(estimate: Estimate) -> Cell:
    """A difference in points with its interval; coloured when it does not include 0."""
    if not estimate.known:
        return Cell("-")
    tone = {1: "up", 0: "", -1: "down"}[estimate.sign]
    low, high = (f"{100 * end:+.1f}" for end in (estimate.low, estimate.high))
    return Cell(f"{100 * estimate.value:+.1f} [{low}, {high}]", estimate.value, tone)


def named(name: str, short: str | None = None) -> Cell:
    """A name that may be shown shortened."""
    shown = name if short is None else short
    return Cell(shorten(shown, 44), full=name)


def count(n: int, what: str) -> str:
    """`"1 row"`, `"1,200 rows"`."""
    return f"{n:,} {what}" + ("" if n == 1 else "s")


def short_names(models: Iterable[str]) -> dict[str, str]:
    """Each model's name without its maker's (`maker/model`), when that is told apart from the others'."""
    names = list(models)
    last = Counter(name.rsplit("/", 1)[-1] for name in names)
    return {name: tail if last[tail := name.rsplit("/", 1)[-1]] == 1 else name for name in names}


def shortened(text: str, models: Iterable[str]) -> str:
    """The text with models by their short names."""
    for name, short in short_names(models).items():
        text = text.replace(f"({name})", f"({short})")
    return text


def cluster_names(
    tasks: Sequence[dict[str, int]], examples: Sequence[Sequence[str]], rows: Sequence[float]
) -> list[str]:
    """A name for each cluster: its number, and its main task or the words that set its questions apart.

    Args:
        tasks: Calibration rows of each cluster by task.
        examples: A few of its questions.
        rows: Calibration rows of each cluster.
    """
    words = _keywords(examples)
    several = len({task for found in tasks for task in found}) > 1
    about = []
    for cluster, found in enumerate(tasks):
        ranked = sorted(found.items(), key=lambda item: -item[1])
        main = [task for task, _ in ranked[:1]] if several else []
        if main and len(ranked) > 1 and ranked[0][1] < 0.6 * max(1.0, rows[cluster]):
            main.append(ranked[1][0])
        about.append(", ".join(main))
    names = []
    for cluster, task in enumerate(about):
        # clusters of one task are told apart by their words
        said = words[cluster] if about.count(task) > 1 else []
        said = [word for word in said if word not in task.lower()][: 1 if task else 2]
        names.append(f"{cluster} {shorten(': '.join(filter(None, (task, ', '.join(said)))), 30)}".strip())
    return names


def _keywords(examples: Sequence[Sequence[str]]) -> list[list[str]]:
    """For each group of texts the three words that tell it most from the others."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = [" ".join(group) for group in examples]
    try:
        vectorizer = TfidfVectorizer(stop_words="english", token_pattern=r"(?u)\b[^\W\d_]{3,}\b")
        weights: Any = vectorizer.fit_transform(texts)
    except ValueError:  # no word in any of the texts
        return [[] for _ in texts]
    words = vectorizer.get_feature_names_out()
    found = []
    for row in range(len(texts)):
        values = weights[[row]].toarray()[0]
        top = [index for index in (-values).argsort(kind="stable")[:3] if values[index] > 0]
        found.append([str(words[index]) for index in top])
    return found
