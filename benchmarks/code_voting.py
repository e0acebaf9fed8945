"""Votes on code: pass@1 of one random sample, of the syntax-tree vote and of the execution vote, on HumanEval.

Reads CodeT's published samples and tests of CodeGen-16B (arXiv 2207.10397) from `AVENGERS_DATA/codet`: 164 problems
whose prompts hold no examples, 100 samples each at temperature 0.8, 100 pieces of tests that the same model wrote. All
of it runs in the sandbox: about ten minutes on two cores.
"""

from __future__ import annotations

import json
import os
import queue
import random
import re
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from langchain_core.messages import AIMessage

from benchmarks.common import data, print_table, save_result
from langchain_avengers.calibration.code import program
from langchain_avengers.calibration.questions import question_from
from langchain_avengers.sandbox.sandbox import Probed, Sandbox, Session
from langchain_avengers.voting.answers import Answer
from langchain_avengers.voting.execution import ExecutionVoter, elect
from langchain_avengers.voting.extraction.code import canonical_code
from langchain_avengers.voting.majority import MajorityVoter
from langchain_avengers.voting.probes import Input, examples, generated, written
from langchain_avengers.voting.programs import find_entry, read_program
from langchain_avengers.voting.vote import Sample

NUMBERS = (5, 10, 20, 50)
DRAWS = 20
GENERATED = 30
SECONDS = 5.0  # for one sample on all inputs: about 150, where a vote with one reply of tests has 30
CALL_SECONDS = 0.2


@dataclass(frozen=True)
class Problem:
    """A problem with its samples run: for each what every input gave, whether its own tests pass, and its code."""

    inputs: list[Input]
    runs: list[list[Probed] | None]
    right: np.ndarray
    answers: list[Answer | None]


def read() -> list[dict[str, Any]]:
    """The problems, each with its `samples` and the `pieces` of tests."""

    def lines(name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in data("codet", name).read_text(encoding="utf-8").splitlines()]

    samples = {row["prompt"]: row["samples"] for row in lines("solutions.jsonl")}
    pieces = {
        re.findall(r"# check the correctness of (\w+)", row["prompt"])[-1]: row["samples"]
        for row in lines("written_tests.jsonl")
    }
    return [
        {**row, "samples": samples[row["prompt"]], "pieces": pieces[row["entry_point"]]}
        for row in lines("problems.jsonl")
    ]


def run(problem: dict[str, Any], session: Session) -> Problem:
    """Run every sample of a problem on every input, and on the problem's own tests."""
    prompt = problem["prompt"]
    question = question_from(
        {"query": prompt, "entry_point": problem["entry_point"], "test": problem["test"]}
    )
    sources = [read_program(text, prompt) for text in problem["samples"]]
    entry = find_entry(prompt, [source for source in sources if source])
    assert entry is not None
    assert entry.name == problem["entry_point"]
    tests = written([f"assert {piece}" for piece in problem["pieces"]], entry)
    inputs = [*examples(prompt, entry), *tests, *generated(entry, GENERATED)]
    seen: dict[str, tuple[list[Probed], bool]] = {}
    for source in sources:
        if source is not None and source not in seen:
            results = session.probe(source, [one.probe for one in inputs], call_seconds=CALL_SECONDS)
            seen[source] = results, session.test(source, program(question, source)[1]).passed
    return Problem(
        inputs,
        [None if source is None else seen[source][0] for source in sources],
        np.array([source is not None and seen[source][1] for source in sources]),
        [None if source is None else Answer("code", canonical_code(source, "python")) for source in sources],
    )


def run_all(problems: list[dict[str, Any]]) -> list[Problem]:
    """Every problem, run by one session a core."""
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(len(problems)):
        waiting.put(number)
    done: dict[int, Problem] = {}

    def work() -> None:
        with Sandbox(timeout=SECONDS).open() as session:
            while True:
                try:
                    number = waiting.get_nowait()
                except queue.Empty:
                    return
                done[number] = run(problems[number], session)

    threads = [threading.Thread(target=work) for _ in range(os.cpu_count() or 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [done[number] for number in range(len(problems))]


def syntax_vote(problem: Problem, drawn: list[int]) -> int:
    """The sample that the majority by syntax tree elects."""
    return drawn[MajorityVoter().elect(_blank(drawn), [problem.answers[i] for i in drawn]).winner]


def execution_vote(problem: Problem, drawn: list[int], origins: tuple[str, ...]) -> int:
    """The sample that the execution vote elects on inputs of these origins."""
    kept = [k for k, one in enumerate(problem.inputs) if one.origin in origins]
    runs = [None if (run := problem.runs[i]) is None else [run[k] for k in kept] for i in drawn]
    if not kept or all(run is None for run in runs):
        return syntax_vote(problem, drawn)
    return drawn[elect(_blank(drawn), runs, [problem.inputs[k] for k in kept]).winner]


def _blank(drawn: list[int]) -> list[Sample]:
    return [Sample(AIMessage("x"))] * len(drawn)


VOTES: dict[str, Callable[[Problem, list[int]], int]] = {
    "syntax-tree vote": syntax_vote,
    "execution vote, generated inputs": lambda p, drawn: execution_vote(p, drawn, ("question", "generated")),
    "execution vote, written tests": lambda p, drawn: execution_vote(
        p, drawn, ("question", "written", "generated")
    ),
}


def interval(by_problem: np.ndarray) -> dict[str, float]:
    """Mean of shape (n_problems,) in percent, and its 95 % interval over problems."""
    rng = np.random.default_rng(0)
    means = by_problem[rng.integers(0, len(by_problem), (10_000, len(by_problem)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return {"mean": 100 * float(by_problem.mean()), "low": 100 * float(low), "high": 100 * float(high)}


def accuracy(problems: list[Problem]) -> list[dict[str, Any]]:
    """pass@1 by vote and number of samples, over random draws of the samples."""
    rows: list[dict[str, Any]] = [
        {"vote": "one random sample", "n": 1, **interval(np.array([p.right.mean() for p in problems]))}
    ]
    for name, vote in VOTES.items():
        for n in NUMBERS:
            rng = random.Random(n)
            drawn = [[rng.sample(range(len(p.right)), n) for _ in range(DRAWS)] for p in problems]
            right = np.array(
                [
                    np.mean([p.right[vote(p, draw)] for draw in draws])
                    for p, draws in zip(problems, drawn, strict=True)
                ]
            )
            rows.append({"vote": name, "n": n, **interval(right)})
    return rows


def speed(problems: list[dict[str, Any]]) -> dict[str, Any]:
    """Seconds of whole votes over 10 samples on 20 inputs: of every eighth problem, and when all samples hang."""
    tests = [f"assert f({k}) == {k}" for k in range(20)]
    voter = ExecutionVoter(n_generated=20)
    hang = [Sample(AIMessage(f"def f(x):\n    while True:\n        x += {k}")) for k in range(10)]
    ExecutionVoter(tests, n_generated=0).vote(hang[:1], "Write f.")  # what is loaded once
    times = []
    for problem in problems[::8]:
        samples = [Sample(AIMessage(text)) for text in problem["samples"][:10]]
        start = time.perf_counter()
        voter.vote(samples, problem["prompt"])
        times.append(time.perf_counter() - start)
    start = time.perf_counter()
    ExecutionVoter(tests, n_generated=0).vote(hang, "Write f.")
    return {
        "median": statistics.median(times),
        "slowest": max(times),
        "all hang": time.perf_counter() - start,
        "votes": len(times),
    }


def main() -> None:
    problems = read()
    seconds = speed(problems)
    rows = accuracy(run_all(problems))
    print_table(
        f"pass@1 on HumanEval, CodeGen-16B, {len(problems)} problems, {DRAWS} draws",
        ["vote", "samples", "pass@1", "95 % interval"],
        [[row["vote"], row["n"], row["mean"], f"{row['low']:.1f} to {row['high']:.1f}"] for row in rows],
    )
    print_table(
        "seconds of a vote over 10 samples on 20 inputs",
        ["", "s"],
        [[name, value] for name, value in seconds.items() if name != "votes"],
    )
    save_result("code_voting", {"pass_at_1": rows, "seconds": seconds})


if __name__ == "__main__":
    main()
