"""The report as a document: complete, self-contained, and safe whatever stands in the data."""

import csv
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pytest

from langchain_avengers.evaluation import figures, report
from langchain_avengers.evaluation import report_parts as parts
from langchain_avengers.evaluation.drift import measure_drift
from langchain_avengers.evaluation.evaluate import NotHeldOutWarning
from langchain_avengers.evaluation.reliability import reliability
from langchain_avengers.evaluation.stats import Estimate
from tests.unit_tests.evaluation.synthetic import MODELS, fitted, make_table

pytest.importorskip("matplotlib", reason="the report's figures need the extra plots")

FIGURES = {"standings", "tasks", "heat", "map", "k", "front", "traffic", "calls", "votes", "shares", "drift"}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    table, vectors = make_table(150, seed=1)
    router = fitted()
    found = report.write_report(
        router, table, folder / "sub" / "report.html", vectors=vectors, png=folder / "png"
    )
    return found, (folder / "sub" / "report.html").read_text(encoding="utf-8"), folder / "png"


class _Outline(HTMLParser):
    def __init__(self):
        super().__init__()
        self.ids, self.links, self.tags = [], [], []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.links += [value for name, value in attrs if name in ("href", "src", "xlink:href") and value]


def test_every_part_is_there_and_every_link_leads_somewhere(page):
    found, html, png = page
    outline = _Outline()
    outline.feed(html)
    assert len(outline.ids) == len(set(outline.ids)), "ids are unique"
    assert {f"figure-{name}" for name in FIGURES} <= set(outline.ids)
    inside = [link[1:] for link in outline.links if link.startswith("#")]
    assert set(inside) <= set(outline.ids)
    assert all(link.startswith(("#", "data:")) for link in outline.links), "nothing is fetched"
    assert not re.search(r"url\((?!#)", html)
    assert html.count("<script") == 1, "the one that sorts tables"
    assert {path.stem for path in png.iterdir()} == FIGURES
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in png.iterdir())
    assert "The router beats Best Single (all-round)" in html
    assert found["Best Single"].detail == "maker/all-round"


def test_figures_and_tables_are_named_for_who_cannot_see_them(page):
    outline = _Outline()
    outline.feed(page[1])
    svgs = [attributes for tag, attributes in outline.tags if tag == "svg"]
    assert len(svgs) == len(FIGURES)
    for attributes in svgs:
        assert attributes["role"] == "img"
        assert set(attributes["aria-labelledby"].split()) <= set(outline.ids)
    tags = [tag for tag, _ in outline.tags]
    assert tags.count("caption") == tags.count("table")
    assert tags.count("figcaption") == tags.count("figure") == len(FIGURES)
    boxes = [a for _, a in outline.tags if a.get("class") == "scroll"]
    assert all(box["tabindex"] == "0" and box["aria-label"] for box in boxes), "scrolled with the keyboard"
    assert ("html", {"lang": "en"}) in outline.tags


def test_figures_take_the_pages_colours(page):
    svg = re.search(r'<figure id="figure-standings">.*?</figure>', page[1], re.DOTALL).group(0)
    assert "var(--accent)" in svg
    assert "var(--ink)" in svg
    assert not re.search(r"#0\d0a0\d", page[1]), "every colour by name has become a variable"
    assert "fill: #000000" not in svg, "no black that dark paper would hide"


def test_queries_and_names_are_text_not_markup(page):
    assert "&lt;script&gt;alert(" in page[1]
    assert "&lt;weak&gt;" in page[1]
    assert "<weak>" not in page[1]


def test_what_is_weak_is_said(page):
    html = page[1]
    assert "Never chosen:" in html
    assert "&lt;weak&gt;" in html.split("Never chosen:")[1][:200]
    assert "calibration rows (smallest:" in html or "fewer than 30" in html
    assert "Expected calibration error" in html
    assert "cost_weight" in html


def test_a_small_table_without_tasks_costs_or_answers_still_makes_a_page(tmp_path):
    table, vectors = make_table(24, seed=2, costs=False, answers=False)
    bare = type(table)(table.queries, table.models, table.scores)
    router = fitted(24, n_clusters=2, costs=False, answers=False)
    report.write_report(router, bare, tmp_path / "r.html", vectors=vectors)
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    for says in (
        "the table holds no costs",
        "no answers are recorded",
        "was given, not found",
        "fewer than 30",
    ):
        assert says in html


def test_rows_seen_in_fitting_mark_the_page(tmp_path):
    table, vectors = make_table(60)
    router = fitted(60, n_clusters=3)
    with pytest.warns(NotHeldOutWarning):
        report.write_report(router, table, tmp_path / "r.html", vectors=vectors)
    assert "Not held out. 60 of 60 rows" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_many_clusters_and_long_names_draw(tmp_path):
    table, vectors = make_table(240, seed=3)
    names = {name: name + "-with-a-rather-long-name-2024-instruct" for name in MODELS}
    long = type(table)(
        table.queries, list(names.values()), table.scores, tasks=table.tasks, costs=table.costs
    )
    router = type(fitted(30, n_clusters=2))(n_clusters=40).fit(long, vectors=vectors)
    with pytest.warns(NotHeldOutWarning):
        report.write_report(router, long, tmp_path / "r.html", vectors=vectors)


def test_short_names_stay_apart():
    assert report.short_names(["a/x", "b/y", "z"]) == {"a/x": "x", "b/y": "y", "z": "z"}
    assert report.short_names(["a/x", "b/x"]) == {"a/x": "a/x", "b/x": "b/x"}


def test_reliability_by_hand():
    found = reliability([0.95, 0.95, 0.55, 0.55, np.nan], [1, 1, 1, 0, 1])
    assert found.n == 4
    assert [(part.n, part.confidence, part.accuracy) for part in found.bins] == [
        (2, pytest.approx(0.55), 0.5),
        (2, pytest.approx(0.95), 1.0),
    ]
    assert found.error == pytest.approx((2 * 0.05 + 2 * 0.05) / 4)
    assert found.auroc == pytest.approx((1 + 1 + 0.5) / 3)
    assert reliability([1.0], [1]).auroc is None
    assert reliability([1.0], [1]).bins[0].high == 1


def test_drift_is_found_where_it_is_and_only_there():
    rng = np.random.default_rng(0)
    share = np.array([0.5, 0.3, 0.2])
    same = measure_drift(1000 * share, rng.choice(3, 500, p=share))
    assert same.p_value > 0.01
    assert "as calibration rows are" in same.sentence()
    moved = measure_drift(1000 * share, rng.choice(3, 500, p=share[::-1]), novel=0.2, novel_expected=0.01)
    assert moved.p_value < 0.001
    assert "otherwise" in moved.sentence()
    assert "20.0% of them" in moved.sentence()
    nothing_shared = measure_drift([10, 0], [1, 1, 1])
    assert nothing_shared.distance == pytest.approx(1)


def test_jensen_shannon_agrees_with_scipy():
    from scipy.spatial.distance import jensenshannon

    found = measure_drift([5, 3, 2], [0] * 2 + [1] * 3 + [2] * 5)
    assert found.distance == pytest.approx(jensenshannon([0.5, 0.3, 0.2], [0.2, 0.3, 0.5], base=2))


def test_long_names_are_cut_and_stay_different():
    short = figures.clipped(["a" * 50, "b" * 10, "a" * 49 + "c"])
    assert short[1] == "b" * 10
    assert max(map(len, short)) == 30
    assert len(set(short)) == 3
    middles = [f"{'x' * 40}-{number}-{'y' * 40}" for number in range(12)]
    assert len(set(figures.clipped(middles))) == 12
    assert figures.clipped(["same" * 20, "same" * 20])[0].count("…") == 1
    assert figures.clipped([]) == []


def test_the_first_screen_answers_whether_to_deploy(page):
    html = page[1]
    top = html[: html.index("<main")]
    assert '<h1 class="badge good">Deploy</h1>' in top
    for says in (
        "Accuracy against Best Single",
        "Cost per 1,000 queries",
        "Caveats",
        "Held out",
        "Calibration rows",
    ):
        assert says in top


@pytest.mark.parametrize(
    ("outcome", "held_out", "cheaper", "badge"),
    [
        ("better", True, False, "Deploy"),
        ("better", False, False, "Not held out"),
        ("worse", True, True, "Do not deploy"),
        ("no better", True, False, "Do not deploy"),
        ("no better", True, True, "Deploy to save cost"),
        ("too few rows", True, True, "Not enough rows"),
    ],
)
def test_every_badge(page, outcome, held_out, cheaper, badge):
    found = page[0]
    single = found["Best Single"]
    price = single.cost.high * (0.1 if cheaper else 1)
    results = [
        replace(r, cost=Estimate(price, price, price), difference=r.difference and Estimate(0, -0.01, 0.01))
        if r.name == "Router"
        else replace(r, difference=Estimate(0.0, -0.01, 0.01))
        if r.name == "Best Single"
        else r
        for r in found.results
    ]
    changed = replace(found, outcome=outcome, held_out=held_out, results=tuple(results))
    assert report._badge(changed)[0] == badge


def test_tables_sort_and_download_as_csv(page):
    html = page[1]
    assert html.count('class="csv"') == html.count("<caption>")
    link = re.search(r'download="standings.csv" href="data:text/csv;charset=utf-8,([^"]+)"', html).group(1)
    rows = list(csv.reader(io.StringIO(unquote(link.replace("&amp;", "&")))))
    assert rows[0][1] == "AvgAcc, %"
    assert any(row[0].startswith("Best Single: maker/all-round") for row in rows) or "Router" in rows[1][0]
    assert 'data-value="' in html


def test_a_cell_is_no_formula_in_a_spreadsheet():
    table = parts.Table("t", "c", ("", "x"), ((parts.Cell("=1+1"), parts.Cell("+1.0", 1.0)),))
    assert unquote(table.csv).splitlines()[1] == "'=1+1,+1.0"


def test_clusters_have_names():
    names = parts.cluster_names(
        [{"sums": 9, "history": 1}, {"history": 5, "sums": 5}], [["What is 7 + 5?"], ["Who?"]], [10, 10]
    )
    assert names == ["0 sums", "1 history, sums"]
    without = parts.cluster_names([{}, {}], [["Solve the equation quickly"], ["Which king reigned?"]], [3, 3])
    assert without[0].startswith("0 ")
    assert without[0] != "0 "
    assert parts.cluster_names([{}], [["1 + 1"]], [3]) == ["0"]


def test_numbers_for_people():
    assert [parts.dollars(x) for x in (0, 0.01234, 1.5, 12.345, 1234.5, float("nan"))] == [
        "$0",
        "$0.0123",
        "$1.50",
        "$12.35",
        "$1,234",
        "-",
    ]


def test_two_routers_are_compared(tmp_path):
    table, vectors = make_table(90, seed=1)
    report.write_report(
        fitted(), table, tmp_path / "r.html", vectors=vectors, compare=fitted(seed=9), compare_vectors=vectors
    )
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Against another router" in html
    assert "choose the same model on" in html
