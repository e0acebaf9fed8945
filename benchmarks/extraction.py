"""How well answers are read: corpora made by programs, recorded answers, and growth with the length of a reply.

Reads reasoning-gym's graded answers from `reasoning_gym` in the benchmark data.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable
from itertools import combinations
from typing import Any

from langchain_core.messages import AIMessage

from benchmarks.common import data, print_table, save_result
from langchain_avengers.voting.answers import Answer, extract_answer
from langchain_avengers.voting.equivalence import partition, same
from langchain_avengers.voting.extraction.question import read_question
from langchain_avengers.voting.extraction.rules import explain_reply
from langchain_avengers.voting.mathematics import MathTime
from langchain_avengers.voting.vote import Sample
from langchain_avengers.voting.voters import MajorityVoter
from tests.corpora import Case, formats, hostile, worked

LARGE = ("anthropic_claude-sonnet-4", "deepseek_deepseek-r1", "openai_o3-mini")  # left out of the vote
LENGTHS = (10_000, 20_000, 40_000, 80_000)
GAS = "Which gas?\nA) oxygen\nB) carbon dioxide\nC) nitrogen\nD) helium"


def corpus(cases: Iterable[Case]) -> dict[str, tuple[int, int]]:
    """Per kind: replies read as the same answer by itself is, and all replies."""
    right: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for case in cases:
        read, plain = extract_answer(case.reply, case.question), extract_answer(case.plain, case.question)
        total[case.kind] += 1
        right[case.kind] += read is not None and plain is not None and same(read, plain, case.question)
    return {kind: (right[kind], total[kind]) for kind in total}


def folded(text: str) -> str:
    """A text without its case and spacing."""
    return " ".join(text.split()).casefold()


def recorded() -> dict[str, Any]:
    """Classes and votes on reasoning-gym: by task, and which rule read how many samples."""
    by_task: dict[str, Counter[str]] = {}
    rules: dict[str, Counter[str]] = {}
    with open(data("reasoning_gym") / "rows.jsonl", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            question = row["query"]
            found = by_task.setdefault(row["task"], Counter())
            drawn = [
                (model, sample["answer"], sample["score"])
                for model, samples in row["samples"].items()
                for sample in samples
                if sample["answer"] is not None and sample["score"] is not None
            ]
            read: dict[str, Answer] = {}
            for text in {text for _, text, _ in drawn}:
                rule, answer = explain_reply(text, read_question(question))
                rules.setdefault(answer.kind if answer else "none", Counter())[rule] += 1
                if answer is not None:
                    read[text] = answer
            label = dict(zip(read, partition(list(read.values()), question, spent=MathTime()), strict=True))
            right = [text for _, text, score in drawn if score >= 1]
            wrong = [text for _, text, score in drawn if score <= 0]
            for one, two in combinations(right, 2):
                if folded(one) == folded(two):
                    found["same text"] += 1
                    found["one class"] += one in label and label[one] == label.get(two)
            found["right and wrong"] += len(right) * len(wrong)
            found["merged"] += sum(a in label and label[a] == label.get(b) for a in right for b in wrong)
            voting = [entry for entry in drawn if entry[0] not in LARGE]
            if voting:
                vote = MajorityVoter().vote([Sample(AIMessage(text)) for _, text, _ in voting], question)
                counts = Counter(folded(text) for _, text, _ in voting)
                first = max(voting, key=lambda entry: counts[folded(entry[1])])
                found["questions"] += 1
                found["vote"] += voting[vote.winner][2]
                found["plain"] += first[2]
    return {"tasks": {task: dict(found) for task, found in by_task.items()}, "rules": rules}


def growth() -> dict[str, dict[int, float]]:
    """Processor seconds to read the slowest hostile texts, by length."""
    texts = {}
    for number, case in enumerate(hostile.cases()):
        question = (None, GAS, "How many?", "Write a function f.")[number % 4]
        times = {}
        for length in LENGTHS:
            text = case.text(length)
            started = time.process_time()
            extract_answer(text, question)
            times[length] = time.process_time() - started
        texts[f"{case.start[:14]!r} {case.unit[:14]!r}"] = times
    return dict(sorted(texts.items(), key=lambda item: -item[1][LENGTHS[-1]])[:10])


def main() -> None:
    corpora = {"data": corpus(formats.cases(50)), "worked solutions": corpus(worked.cases(25))}
    for name, kinds in corpora.items():
        rows = [[kind, f"{right}/{n}", f"{100 * right / n:.1f}"] for kind, (right, n) in kinds.items()]
        print_table(f"answers read right, {name}", ["kind", "right", "%"], rows)
    grown = growth()
    print_table(
        "the slowest of the hostile texts, ms",
        ["text", *(f"{n:,} characters" for n in LENGTHS)],
        [[name, *(f"{1e3 * t:.0f}" for t in times.values())] for name, times in grown.items()],
    )
    found = recorded()
    total: Counter[str] = sum((Counter(task) for task in found["tasks"].values()), start=Counter())
    shares = {
        "right samples with the same text in one class": ("one class", "same text"),
        "right and wrong samples in one class": ("merged", "right and wrong"),
        "MajorityVoter, all samples of seven models": ("vote", "questions"),
        "vote by equal text": ("plain", "questions"),
    }
    print_table(
        "reasoning-gym",
        ["", "%"],
        [[name, f"{100 * total[part] / total[whole]:.2f}"] for name, (part, whole) in shares.items()],
    )
    print_table(
        "by which rule distinct samples of reasoning-gym are read, by kind",
        ["kind", "texts", "rules"],
        [
            [kind, sum(rules.values()), ", ".join(f"{rule} {n}" for rule, n in rules.most_common(4))]
            for kind, rules in sorted(found["rules"].items())
        ],
    )
    result = {"corpora": corpora, "growth": grown, "recorded": found}
    save_result("extraction", result)


if __name__ == "__main__":
    main()
