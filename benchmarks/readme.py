"""Draw the kept results into README.md and docs: `python -m benchmarks.readme` rewrites what stands between its marks.

A mark is `<!-- NAME -->`, up to `<!-- end NAME -->`; the names are those of `DRAWN`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from benchmarks.common import RESULTS, ROOT


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    names = list(head)
    lines = [names, ["---"] + ["---:"] * (len(names) - 1), *([str(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def routerdc(rows: list[dict[str, Any]]) -> str:
    def shown(row: dict[str, Any]) -> list[str]:
        spread = "" if row["sd"] is None else f" ± {row['sd']:.2f}"
        bold = "**" if "all defaults" in row["router"] else ""
        return [f"{bold}{row['router']}{bold}", f"{bold}{row['accuracy']:.2f}{spread}{bold}"]

    return _table(["RouterDC test sets, mean over 5 tasks", "accuracy, %"], map(shown, rows))


def recorded(name: str, result: dict[str, Any]) -> str:
    """A pool beside models of other pools, on recorded answers."""
    rows = result["rows"]

    def shown(label: str) -> list[str]:
        bold = "**" if label == "routed and voted" else ""
        answers = rows[label]["answers"]
        said = f"{answers:.0f}" if answers == round(answers) else f"{answers:.1f}"
        return [f"{bold}{label}{bold}", f"{bold}{_points(rows[label]['score'])}{bold}", said]

    table = _table([f"{name}, test questions", "score, % [95 %]", "answers"], map(shown, rows))
    return (
        f"{table}\n\nRouted and voted against the best single model: {_points(result['gain'], signed=True)} points. "
        f"Its confidence is off by {100 * result['calibration_error']:.1f} points on average "
        f"(AUROC {result['auroc']:.2f})."
    )


def voting(result: dict[str, Any]) -> str:
    votes = _table(
        [
            "RouterBench ARC, test half",
            "best single",
            "equal vote",
            "log-odds vote",
            "ours: chosen on the train half",
        ],
        (
            [
                row["pool"],
                *(f"{100 * row[key]:.1f}" for key in ("best single", "equal vote", "log-odds vote")),
                f"{100 * row['chosen']:.1f} ({', '.join(row['models'])})",
            ]
            for row in result["votes"]
        ),
    )
    agree = 100 * result["extraction"]["all"]
    return f"{votes}\n\nExtracted letter agrees with the recorded score on {agree:.2f} % of the answers."


def speed(result: dict[str, Any]) -> str:
    one = _table(
        [
            "one decision (K × d, models)",
            "paper's arithmetic, µs",
            "`route_vector`, µs",
            "bare product, µs",
            "times as fast",
        ],
        (
            [
                f"{r['K']} × {r['d']}, {r['M']}",
                f"{r['paper']:.0f}",
                f"{r['route_vector']:.0f}",
                f"{r['product']:.0f}",
                f"{r['paper'] / r['route_vector']:.1f}",
            ]
            for r in result["one"]
        ),
    )
    many = _table(
        ["many decisions (n × d, K)", "`choose`, ms", "float32 product and row norms, ms", "ratio"],
        (
            [
                f"{r['n']} × {r['d']}, {r['K']}",
                f"{r['choose']:.1f}",
                f"{r['product and norms']:.1f}",
                f"{r['choose'] / r['product and norms']:.2f}",
            ]
            for r in result["many"]
        ),
    )
    return f"{one}\n\n{many}"


def pipeline(result: dict[str, Any]) -> str:
    times = result["milliseconds"]
    table = _table(
        ["members that answer at once", "ms (median)"],
        ([name, f"{value:.2f}"] for name, value in times.items()),
    )
    return f"{table}\n\n64 concurrent calls with members that take 100 ms: {result['seconds for 64']:.2f} s."


def serving(result: dict[str, Any]) -> str:
    one, bad, memory = result["milliseconds"], result["faults"], result["memory"]
    table = _table(
        ["500 requests at once, members that take 100 ms; server of", "answered", "p50, s", "p99, s"],
        (
            [
                name.replace("1 processes", "1 process"),
                str(each["answered"]),
                f"{each['p50']:.2f}",
                f"{each['p99']:.2f}",
            ]
            for name, each in result["at once"].items()
        ),
    )
    asked = f"{bad['requests']:,} requests while 30 % of the members' requests fail"
    came = ", ".join(f"{count:,} with status {status}" for status, count in bad["statuses"].items())
    return (
        f"One call, five samples, members that answer at once (median): {one['in process']:.2f} ms in process, "
        f"{one['served']:.2f} ms served.\n\n{table}\n\n{asked}: {came}; the slowest took {bad['slowest s']:.0f} s. "
        f"Dollars counted here and by the members: {bad['dollars']:.6f} and {bad['dollars of members']:.6f}. "
        f"Memory after {memory[0]['requests']:,} and {memory[-1]['requests']:,} requests: "
        f"{memory[0]['MB']:.0f} and {memory[-1]['MB']:.0f} MB."
    )


def learning(result: dict[str, Any]) -> str:
    mean = result["mean"]
    rows = [
        ["best single model", mean["best single"][0]],
        [f"router fitted on {result['start']} rows", mean["without learning"][0]],
        [
            f"the same after feedback on {result['stream']:,} queries, the asked model's alone",
            mean["learned"][-1],
        ],
        ["router fitted on full labels of all these rows", mean["fitted on full labels"][0]],
    ]
    return _table(
        ["MMLU-Pro, 14 models of at most 8B", "accuracy, %"], ([name, f"{value:.2f}"] for name, value in rows)
    )


def add_model(result: dict[str, Any]) -> str:
    mean = result["mean"]
    rows = [["without the model", f"{mean['without']:.2f}", ""]]
    rows += [
        [f"{p} of its rows", f"{mean[f'random {p}']:.2f}", f"{mean[f'chosen {p}']:.2f}"]
        for p in ("5%", "10%", "25%")
    ]
    rows.append(["all of its rows", f"{mean['all']:.2f}", ""])
    return _table(["a model joins (each of 7 in turn)", "rows at random", "rows chosen by `add-model`"], rows)


def _points(estimate: dict[str, float | None], *, signed: bool = False) -> str:
    form = "+.2f" if signed else ".2f"
    low, high = estimate["low"], estimate["high"]
    span = "" if low is None or high is None else f" [{100 * low:{form}}, {100 * high:{form}}]"
    return f"{100 * (estimate['value'] or 0):{form}}{span}"


def learned_cost(result: dict[str, Any]) -> str:
    rows = [
        [
            f"seed {seed}",
            _points(run["saving"]),
            _points(run["difference"], signed=True),
            f"{run['answers']:.1f}",
        ]
        for seed, run in enumerate(result["runs"])
    ]
    strong = result["runs"][0]["strong"]
    head = [
        f"learned vote, against Best Single ({strong})",
        "of its cost saved, %",
        "difference, points",
        "answers",
    ]
    return _table(head, rows)


def cost_front(result: dict[str, Any]) -> str:
    names = {
        "no loss in cross-validation": "`cost_weight`, chosen for no loss",
        "loss within the interval": "`cost_weight`, chosen for a loss within the interval",
    }
    rows = [
        [
            names.get(rule, rule),
            f"{100 * found['saving']:.1f}",
            f"{100 * found['difference']:+.2f}",
            f"{found['seeds_with_a_loss_beyond_the_interval']} of 5 seeds",
        ]
        for rule, found in result["summary"].items()
    ]
    head = [
        "RouterBench ARC, against Best Single (gpt-4-1106-preview)",
        "of its cost saved, %",
        "difference, points",
        "loss beyond the interval",
    ]
    return _table(head, rows)


def fitting(row: dict[str, Any]) -> str:
    return _table(
        ["fitting (n × d, K), one thread", "`fit`, s", "scikit-learn's KMeans alone, s", "ratio"],
        [
            [
                f"{row['n']:,} × {row['d']}, {row['K']}",
                f"{row['fit']:.1f}",
                f"{row['KMeans']:.1f}",
                f"{row['fit'] / row['KMeans']:.2f}",
            ]
        ],
    )


def large(rows: list[dict[str, Any]]) -> str:
    return _table(
        [
            "`fit_parquet`, all defaults, 384 dimensions",
            "file, GB",
            "s",
            "peak memory, MiB",
            "routed, %",
            "best model of each topic, %",
        ],
        (
            [
                f"{r['rows']:,} rows",
                f"{r['file_gb']:.1f}",
                f"{r['seconds']:.0f}",
                f"{r['peak_mib']:.0f}",
                f"{100 * r['routed']:.1f}",
                f"{100 * r['best by topic']:.1f}",
            ]
            for r in rows
        ),
    )


def growth(result: dict[str, Any]) -> str:
    shapes = {(r["K"], r["d"], r["M"]): r for rows in result["routing"].values() for r in rows}
    routed = _table(
        ["K × d, models", "`route_vector`, µs", "`choose`, µs a query", "a loaded router, MiB"],
        (
            [
                f"{r['K']} × {r['d']}, {r['M']}",
                f"{r['route_vector, us']:.0f}",
                f"{r['choose, us a query']:.2f}",
                f"{r['memory, MiB']:.1f}",
            ]
            for r in shapes.values()
        ),
    )
    fitted = _table(
        ["rows × 384", "`fit`, K=64, s", "`fit`, all defaults, s"],
        ([f"{r['rows']:,}", f"{r['plain']:.1f}", f"{r['auto']:.1f}"] for r in result["fitting"]),
    )
    return f"{routed}\n\n{fitted}"


def study(name: str, result: dict[str, Any]) -> str:
    found = result[name]
    plain = ", ".join(f"{key}={value}" for key, value in found["params"].items())
    base = f"`{plain}`" if plain else "all defaults"
    subsets = any("best_subset" in row["detail"] for row in found["rows"])
    head = [name.replace("_", " "), "AvgAcc, %", "minus the first, points"]
    rows = []
    for row in found["rows"]:
        label = base if row["setting"] == "default" else row["setting"]
        cells = [
            label,
            _points(row["avg_acc"]),
            _points(row["difference"], signed=True) if row["difference"] else "",
        ]
        if subsets:
            detail = row["detail"]
            cells += [
                f"{100 * detail[key]:.2f}" if key in detail else "" for key in ("mean_subset", "best_subset")
            ]
        rows.append(cells)
    return _table([*head, *(["mean of all subsets", "best of all, in hindsight"] if subsets else [])], rows)


def real_models(result: dict[str, Any]) -> str:
    lines = {line["name"]: line for line in result["lines"]}
    tasks = list(lines["Router"]["tasks"])
    order = [*result["models"], "Random", "Best Single", "kNN", "Router", "Max Expert", "Oracle"]
    rows = []
    for name in order:
        line = lines[name]
        label = f"{name} ({line['detail']})" if line["detail"] else name
        cells = [
            label,
            *(f"{100 * line['tasks'][task]:.1f}" for task in tasks),
            f"{100 * line['accuracy']:.1f}",
        ]
        rows.append([f"**{cell}**" for cell in cells] if name == "Router" else cells)
    table = _table([f"{result['n_test']} questions held out", *tasks, "mean"], rows)
    return (
        f"`{result['calibrate']}`: {result['questions']} questions, {len(result['models'])} models, "
        f"{result['samples']} samples, {result['seconds']:.0f} s. {result['verdict']}\n\n{table}"
    )


def vote_speed(result: dict[str, float]) -> str:
    slowest = max(result, key=result.__getitem__)
    return (
        f"One vote over 50 short answers of {len(result)} kinds: {1000 * min(result.values()):.1f} to "
        f"{1000 * result[slowest]:.1f} ms ({slowest})."
    )


def coverage(rows: list[dict[str, Any]]) -> str:
    names = ("AvgAcc", "difference", "Gain@B", "cost saved")
    head = ("95 % intervals", *names, "width of the difference, points", "wrong verdicts of equal models")
    return _table(
        head,
        ([row["design"], *(f"{100 * row[name]:.1f}" for name in (*names, "width", "wrong"))] for row in rows),
    )


def defaults(result: dict[str, dict[str, float]]) -> str:
    columns = list(result["best single"])
    best = {column: max(row[column] for row in result.values()) for column in columns}
    shown = (
        [name, *(f"**{row[c]:.1f}**" if row[c] >= best[c] - 0.05 else f"{row[c]:.1f}" for c in columns)]
        for name, row in result.items()
    )
    return _table(["router", *columns], shown)


def code_voting(result: dict[str, Any]) -> str:
    numbers = sorted({row["n"] for row in result["pass_at_1"]} - {1})
    by_vote: dict[str, dict[int, str]] = {}
    for row in result["pass_at_1"]:
        by_vote.setdefault(row["vote"], {})[row["n"]] = (
            f"{row['mean']:.1f} ({row['low']:.1f} to {row['high']:.1f})"
        )
    rows = [[vote, *(cells.get(n, cells.get(1, "")) for n in numbers)] for vote, cells in by_vote.items()]
    seconds = result["seconds"]
    table = _table(["pass@1, % (95 % interval)", *(f"{n} samples" for n in numbers)], rows)
    return (
        f"{table}\n\nA vote over 10 samples on 20 inputs takes {seconds['median']:.2f} s (median), "
        f"{seconds['slowest']:.2f} s at most, and {seconds['all hang']:.2f} s when all ten hang."
    )


PAGES = (
    "README.md",
    "docs/benchmarks.md",
    "docs/calibration.md",
    "docs/code_voting.md",
    "docs/evaluation.md",
    "docs/routing.md",
    "docs/serving.md",
)
Draw = Callable[[Any], str]
STUDIES = ("clusters", "clusterer", "scoring", "top_k", "models", "size")
DRAWN: dict[str, tuple[str, Draw]] = {
    **{
        make.__name__: (make.__name__, make)
        for make in (
            routerdc,
            real_models,
            voting,
            speed,
            pipeline,
            serving,
            learning,
            add_model,
            cost_front,
            learned_cost,
            fitting,
            large,
            growth,
            vote_speed,
            code_voting,
            coverage,
            defaults,
        )
    },
    "reasoning_gym": ("reasoning_gym", partial(recorded, "reasoning-gym, seven models")),
    "mmlu_pro": ("mmlu_pro", partial(recorded, "MMLU-Pro, fourteen models of at most 8B")),
    **{f"ablations {name}": ("ablations", partial(study, name)) for name in STUDIES},
}
"""Mark -> benchmark whose result it shows, and how it is drawn."""


def draw(text: str) -> str:
    """The text with every marked part made anew from benchmarks/results."""
    for name, (benchmark, make) in DRAWN.items():
        path = RESULTS / f"{benchmark}.json"
        marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        if not path.exists() or not marks.search(text):
            continue
        record = json.loads(path.read_text(encoding="utf-8"))
        machine = record["machine"]
        source = (
            f"<sub>`python -m benchmarks {benchmark}` · {machine['cores']} cores, {machine['cpu']}, "
            f"Python {machine['python']}"
            f" · commit {record['commit']}, {record['date']}</sub>"
        )
        body = f"{make(record['result'])}\n\n{source}"
        text = marks.sub(lambda found, body=body: f"{found[1]}{body}\n{found[2]}", text)
    return text


def main() -> None:
    for page in (ROOT / path for path in PAGES):
        page.write_text(draw(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
