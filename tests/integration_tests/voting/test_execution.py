"""Votes on code by what it does, in the sandbox."""

from __future__ import annotations

import time
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

from langchain_avengers import ChatAvengers
from langchain_avengers.errors import SandboxError
from langchain_avengers.sandbox import isolation
from langchain_avengers.voting import execution
from langchain_avengers.voting.execution import ExecutionVoter
from langchain_avengers.voting.voters import AutoVoter, MajorityVoter, Sample, Vote, resolve_voter
from tests.fakes import FakeModel, FakeRouter, says
from tests.integration_tests.sandbox.hostile import FORGED, HOSTILE

isolated = pytest.mark.skipif(
    isolation.isolation() != "namespaces", reason="this kernel allows no namespaces here"
)
PATIENT = {"timeout": 60.0}  # nothing here may depend on how busy the machine is


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "_CALL", 5.0)
    monkeypatch.setattr(execution, "_MOST", 20.0)


def samples(*codes: str, scores: tuple[float, ...] = ()) -> list[Sample]:
    weights = scores or (None,) * len(codes)
    return [
        Sample(AIMessage(f"Here it is:\n```python\n{code}\n```"), "m", weight)
        for code, weight in zip(codes, weights, strict=True)
    ]


def double(*bodies: str) -> list[Sample]:
    return samples(*(f"def double(x: int) -> int:\n    return {body}" for body in bodies))


QUESTION = "Write a function double(x) that doubles an integer."
EXAMPLES = f"{QUESTION} For example, double(3) == 6 and double(0) == 0."


def groups(vote: Vote) -> list[tuple[int, ...]]:
    return [candidate.samples for candidate in vote.tally]


@isolated
def test_different_code_that_behaves_alike_is_one_candidate() -> None:
    given = double("x ** 2", "x ** 2", "x + x", "x * 2", "sum([x, x])")
    assert groups(MajorityVoter().vote(given, QUESTION))[0] == (0, 1)
    vote = ExecutionVoter(**PATIENT).vote(given, QUESTION)
    assert groups(vote) == [(2, 3, 4), (0, 1)]
    assert (vote.winner, vote.confidence, vote.voter, vote.note) == (2, 0.6, "execution", "")
    assert vote.answer is not None
    assert vote.answer.kind == "code"


@isolated
def test_what_passes_the_questions_examples_beats_what_does_not() -> None:
    vote = ExecutionVoter(**PATIENT).vote(double("x ** 2", "x ** 2", "x ** 2", "2 * x"), EXAMPLES)
    assert vote.winner == 3
    assert [(c.weight, c.samples) for c in vote.tally] == [(1.0, (3,)), (0.0, (0, 1, 2))]
    assert vote.confidence == 1.0
    assert "double(3) gives 6; " in vote.tally[0].value
    assert "passes 2 of 2 examples" in vote.tally[0].value
    assert "passes 1 of 2 examples" in vote.tally[1].value


@isolated
@pytest.mark.parametrize(
    "tests", ["assert double(5) == 10", ["x = double(4)\nassert x == 8", "assert double(1) == 2"]]
)
def test_the_callers_tests_bind(tests: Any) -> None:
    vote = ExecutionVoter(tests, **PATIENT).vote(double("x ** 2", "x ** 2", "2 * x"), QUESTION)
    assert vote.winner == 2


class Writer(GenericFakeChatModel):
    messages: Any = iter(())


@isolated
async def test_tests_that_a_model_writes_weigh_and_are_paid_for() -> None:
    usage = {"input_tokens": 50, "output_tokens": 20, "total_tokens": 70}
    text = "assert double(1) == 2\nassert double(3) == 6\nassert double(4) == 15\nimport os; os._exit(0)"
    for vote_of in ("vote", "avote"):
        writer = Writer(messages=iter([AIMessage(text, usage_metadata=usage)]))
        voter = ExecutionVoter(test_writer=writer, **PATIENT)
        given = double("x ** 2", "x ** 2", "2 * x")
        vote = voter.vote(given, QUESTION) if vote_of == "vote" else await voter.avote(given, QUESTION)
        assert [(c.weight, c.samples) for c in vote.tally] == [(3.0, (2,)), (2.0, (0, 1))]
        assert "passes 2 of 3 written tests" in vote.tally[0].value
        assert [message.usage_metadata for message in vote.calls] == [usage]


@isolated
async def test_a_writer_that_fails_is_told() -> None:
    voter = ExecutionVoter(test_writer=Writer(messages=iter(())), **PATIENT)
    vote = await voter.avote(double("x ** 2", "2 * x", "x + x"), QUESTION)
    assert vote.winner == 1
    assert "no tests were written" in vote.note


@isolated
def test_errors_and_endless_loops_are_behaviour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "_CALL", 0.1)
    given = double("1 / 0", "[1 for _ in iter(int, 1)]", "2 * x", "x + x", "undefined")
    vote = ExecutionVoter(**PATIENT).vote(given, EXAMPLES)
    assert groups(vote)[0] == (2, 3)
    values = " ".join(candidate.value for candidate in vote.tally)
    assert "raises ZeroDivisionError" in values
    assert "took too long" in values


@isolated
def test_a_generated_input_on_which_most_raise_is_left_out() -> None:
    given = samples(
        "def up(s):\n    return s.upper()",
        "def up(s):\n    return ''.join(c.upper() for c in s)",
        "def up(s):\n    return str.upper(s)",
        "def up(s):\n    return s.lower()",
    )
    vote = ExecutionVoter(**PATIENT).vote(given, "Write up(s), which gives s in capital letters.")
    assert groups(vote) == [(0, 1, 2), (3,)]


@isolated
def test_changes_in_place_are_behaviour() -> None:
    given = samples(
        "def order(a: list[int]):\n    a.sort()",
        "def order(a: list[int]):\n    a[:] = sorted(a)",
        "def order(a: list[int]):\n    a.reverse()",
    )
    assert groups(ExecutionVoter(**PATIENT).vote(given, "Order a list in place."))[0] == (0, 1)


@isolated
def test_programs_that_read_standard_input() -> None:
    question = "Read two integers and print their sum.\n\nSample input:\n1 2\n\nSample output:\n3\n"
    given = samples(
        "print(*input().split(), sep='')",
        "print(*input().split(), sep='')",
        "a, b = map(int, input().split())\nprint(a + b)",
        "import sys\nprint(sum(map(int, sys.stdin.read().split())))",
    )
    vote = ExecutionVoter([{"input": "5 6", "output": "11"}], **PATIENT).vote(given, question)
    assert groups(vote) == [(2, 3), (0, 1)]
    assert "passes 2 of 2 examples" in vote.tally[0].value


@isolated
@pytest.mark.parametrize(
    ("texts", "note"),
    [
        (["I do not know.", "Nor do I."], "no sample holds a Python program"),
        (["```python\nx = 1\n```"] * 2, "no input"),
    ],
)
def test_without_code_or_inputs_votes_are_counted(texts: list[str], note: str) -> None:
    vote = ExecutionVoter(**PATIENT).vote([Sample(AIMessage(text)) for text in texts], "?")
    assert note in vote.note


@isolated
def test_a_sample_without_code_abstains() -> None:
    given = [*double("2 * x"), Sample(AIMessage("I cannot."))]
    vote = ExecutionVoter(**PATIENT).vote(given, EXAMPLES)
    assert (vote.winner, vote.abstained) == (0, (1,))


@isolated
def test_ties_go_to_the_better_model_and_weights_count() -> None:
    codes = ["def double(x: int):\n    return x ** 2", "def double(x: int):\n    return 2 * x"]
    vote = ExecutionVoter(**PATIENT).vote(samples(*codes, scores=(0.4, 0.9)), QUESTION)
    assert (vote.winner, vote.tie) == (1, True)
    vote = ExecutionVoter(weights="log_odds", **PATIENT).vote(samples(*codes, scores=(0.4, 0.9)), QUESTION)
    assert (vote.winner, vote.tie) == (1, False)


@isolated
def test_no_hostile_sample_wins_and_the_honest_one_is_still_heard() -> None:
    for part in (HOSTILE, FORGED):
        given = samples(*part.values(), "def double(x):\n    return 2 * x")
        vote = ExecutionVoter(timeout=30.0).vote(given, EXAMPLES)
        assert vote.winner == len(given) - 1
        assert vote.tally[0].samples == (len(given) - 1,)


@isolated
@pytest.mark.slow
def test_ten_samples_on_twenty_inputs_take_seconds_even_when_all_hang(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    given = double(*(f"[x + {i} for _ in iter(int, 1)]" for i in range(10)))
    start = time.monotonic()
    ExecutionVoter().vote(given, EXAMPLES)
    assert time.monotonic() - start < 30  # 3 on an idle machine: the benchmark measures it


@isolated
async def test_the_pool_votes_by_behaviour_and_its_account_counts_the_tests() -> None:
    codes = [str(sample.message.text) for sample in double("x ** 2", "2 * x", "x + x")]
    writer = FakeModel(script=["assert double(3) == 6"], model_name="writer")
    for settings in ({"voter": "execution"}, {"voter": "auto", "allow_code": True}):
        chat = ChatAvengers(
            router=FakeRouter(), models={"sums": says(*codes), "places": says("x")}, n_samples=3, test_writer=writer,
            prices={"sums": (1.0, 1.0), "writer": (1e6, 1e6)},
            **settings,
        )  # fmt: skip
        question = f"{QUESTION} 1 + 1"
        for answer in (chat.invoke(question), await chat.ainvoke(question)):
            summary = answer.response_metadata["avengers"]
            assert summary["vote"]["voter"] == "execution"
            assert "x ** 2" not in answer.text
            assert "passes 1 of 1 written tests" in summary["vote"]["tally"][0]["value"]
            assert summary["account"]["models"]["writer"]["cost"] == 15.0  # 15 tokens at a dollar each
            assert summary["cost"] > 15


@isolated
def test_with_a_learned_vote_the_confidence_is_the_chance_that_the_class_is_right() -> None:
    class Policy:
        def chances(self, expected: dict[str, float], answers: list[tuple[str, int]]) -> list[float]:
            assert expected == {"m": 0.5}
            assert answers == [("m", 0), ("m", 1), ("m", 1)]
            return [0.6, 0.3]

        def calibrated(self, chance: float, n_answers: int) -> float:
            assert n_answers == 3
            return round(chance, 6)

    policy: Any = Policy()
    codes = [str(sample.message.text) for sample in double("x ** 2", "2 * x", "x + x")]
    given = [Sample(AIMessage(code), "m", 0.5) for code in codes]
    vote = ExecutionVoter(weights="learned", policy=policy, **PATIENT).vote(given, QUESTION)
    assert (vote.winner, vote.confidence) == (0, 0.6)
    vote = ExecutionVoter(weights="learned", policy=policy, **PATIENT).vote(given, EXAMPLES)
    assert (vote.winner, vote.confidence) == (1, 0.75)  # 0.3 beside the 0.1 that none is right


def test_auto_runs_code_only_when_the_caller_has_switched_it_on() -> None:
    auto = resolve_voter("auto")
    assert isinstance(auto, AutoVoter)
    assert auto.execution is None


@isolated
def test_auto_with_the_switch_votes_on_code_by_behaviour_and_on_text_as_ever() -> None:
    auto = resolve_voter("auto", allow_code=True)
    assert auto.vote(double("x ** 2", "x ** 2", "2 * x"), EXAMPLES).voter == "execution"
    assert auto.vote([Sample(AIMessage("4")), Sample(AIMessage("4"))], "2 + 2?").voter == "majority"
    assert isinstance(resolve_voter("execution"), ExecutionVoter)


def test_where_nothing_can_be_isolated_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "ways", lambda level: ())
    for voter, allow_code in (("execution", False), ("auto", True)):
        with pytest.raises(SandboxError, match="cannot be run safely"):
            resolve_voter(voter, allow_code=allow_code)
        with pytest.raises(SandboxError, match="cannot be run safely"):
            ChatAvengers(
                router=FakeRouter(),
                models={"sums": says("a"), "places": says("b")},
                voter=voter,
                allow_code=allow_code,
            )
