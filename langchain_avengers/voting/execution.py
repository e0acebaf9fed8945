"""Votes on code by what it does: samples that behave alike are one candidate.

Samples are run in the sandbox on the same inputs, and those whose outputs and errors are all the same form a class. A
class is weighed by its samples and by the tests it passes (dual execution agreement of CodeT, arXiv 2207.10397).
"""

from __future__ import annotations

import asyncio
import math
import os
import queue
import threading
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from langchain_avengers.sandbox.isolation import Level, require
from langchain_avengers.sandbox.sandbox import Case, Probe, Probed, Sandbox, Session, same_output
from langchain_avengers.voting.extraction.answer import Answer
from langchain_avengers.voting.extraction.code import canonical_code
from langchain_avengers.voting.majority import MajorityVoter, check_samples, group_chances
from langchain_avengers.voting.policy import VotePolicy
from langchain_avengers.voting.probes import (
    Input,
    examples,
    from_statements,
    generated,
    stdin_examples,
    written,
)  # fmt: skip
from langchain_avengers.voting.programs import Signature, find_entry, read_program
from langchain_avengers.voting.vote import Candidate, Sample, Vote, Weighting, score_of, weigh

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.runnables import RunnableConfig

_MOST, _LEAST = 1.0, 0.25  # seconds that one sample may take in all
_CALL = 0.2  # seconds that one call may take
_SHOWN = 200  # characters of a behaviour in the tally
_NO_VALUE = ("raises ", "took ", "ended ", "killed ", "returned ", "sent ", "broke ")

Results = Sequence[Probed]
"""What each input gave when one program was run."""


@dataclass(frozen=True, slots=True)
class _Ballot:
    """What a vote is about: every sample's program (None: it abstains), the function asked for, and the inputs."""

    programs: list[str | None]
    entry: Signature | None
    inputs: list[Input]


@dataclass(frozen=True)
class ExecutionVoter:
    """The most agreed behaviour wins. Runs Python that models wrote, in the sandbox; see `docs/security.md`.

    Attributes:
        tests: Tests of the caller's: assertions, one a line or in a list; or, of programs that read standard input,
            mappings with `input` and `output`.
        test_writer: A chat model that writes further tests for every question; what it costs is in `Vote.calls`.
        n_tests: How many tests it is asked for.
        n_generated: Inputs drawn by the function's annotations.
        weights: Weights of samples; see `MajorityVoter`.
        policy: A learned vote. The confidence is then the chance that the winning class is right.
        timeout: Seconds for running all samples of a vote, about; a sample gets its share, at most one second.
        level: The least isolation; see `sandbox.isolation`.

    Inputs are the examples in the question (doctests, assertions, calls with their values, pairs of input and output),
    the caller's tests, written tests, and generated inputs. A class that passes fewer of the question's examples and
    the caller's tests than another has weight 0, so that it cannot win; the others weigh the votes of their samples
    times one plus the number of written tests they pass. A generated input on which most samples raise is
    left out. Ties go as in `MajorityVoter`. `Candidate.value` says how a class behaves.

    When no sample holds a Python program, or there is no input, the votes are counted as in `MajorityVoter`, and
    `Vote.note` says so.

    Raises:
        SandboxError: When it is made: this system cannot isolate a program at that level.

    Example:
        >>> from langchain_core.messages import AIMessage
        >>> from langchain_avengers.voting.execution import ExecutionVoter
        >>> from langchain_avengers.voting.voters import Sample
        >>> codes = ["lambda x: x * 2", "lambda x: x + x", "lambda x: x ** 2"]
        >>> samples = [Sample(AIMessage(f"def f(x):\\n    return ({code})(x)")) for code in codes]
        >>> vote = ExecutionVoter().vote(samples, "Write f(x), which doubles x. Example: f(3) == 6")  # doctest: +SKIP
        >>> vote.tally[0].value  # doctest: +SKIP
        'f(3) gives 6; passes 1 of 1 examples'
    """

    tests: str | Sequence[str | Case] = ()
    test_writer: BaseChatModel | None = None
    _: KW_ONLY
    n_tests: int = 10
    n_generated: int = 20
    weights: Weighting = "equal"
    policy: VotePolicy | None = None
    timeout: float = 2.5
    level: Level = "namespaces"
    name: ClassVar[str] = "execution"

    def __post_init__(self) -> None:
        """Check that code can be run here at all."""
        require(self.level)

    def vote(
        self, samples: Sequence[Sample], question: str | None = None, *, config: RunnableConfig | None = None
    ) -> Vote:
        """Elect one of the samples."""
        ballot = self._ballot(samples, question)
        reply: BaseMessage | None = None
        note = ""
        if self.test_writer is not None and ballot.entry is not None:
            try:
                reply = self.test_writer.invoke(self._prompt(ballot.entry, question), config)
            except Exception as error:
                note = _no_tests(error)
        return self._decide(samples, question, ballot, reply, note)

    async def avote(
        self, samples: Sequence[Sample], question: str | None = None, *, config: RunnableConfig | None = None
    ) -> Vote:
        """Elect one of the samples; programs run in threads."""
        ballot = await asyncio.to_thread(self._ballot, samples, question)
        reply: BaseMessage | None = None
        note = ""
        if self.test_writer is not None and ballot.entry is not None:
            try:
                reply = await self.test_writer.ainvoke(self._prompt(ballot.entry, question), config)
            except Exception as error:
                note = _no_tests(error)
        return await asyncio.to_thread(self._decide, samples, question, ballot, reply, note)

    def _ballot(self, samples: Sequence[Sample], question: str | None) -> _Ballot:
        check_samples(samples)
        programs = [read_program(str(sample.message.text), question) for sample in samples]
        sources = [program for program in programs if program is not None]
        entry = find_entry(question, sources)
        if not sources:
            return _Ballot(programs, None, [])
        own = [self.tests] if isinstance(self.tests, str) else list(self.tests)
        if entry is None:
            pairs = [(str(case["input"]), str(case["output"])) for case in own if isinstance(case, Mapping)]
            inputs = [
                Input(Probe(call=given, expected=told), "question")
                for given, told in stdin_examples(question)
            ]
            inputs += [Input(Probe(call=given, expected=told), "caller") for given, told in pairs]
            return _Ballot(programs, None, inputs)
        texts = [text for text in own if isinstance(text, str)]
        inputs = [*examples(question, entry), *from_statements(texts), *generated(entry, self.n_generated)]
        return _Ballot(programs, entry, inputs)

    def _prompt(self, entry: Signature, question: str | None) -> list[BaseMessage]:
        rules = (
            f"You write tests for a Python function `{entry.name}` that somebody else will write. Reply with "
            f"{self.n_tests} different assertions, one on each line, with literal values and nothing else, such as\n"
            f"assert {entry.name}(...) == ...\nCover ordinary and extreme cases. Do not write the function. "
            "What follows is the question that it answers."
        )
        return [SystemMessage(rules), HumanMessage(question or "(not given)")]

    def _decide(
        self,
        samples: Sequence[Sample],
        question: str | None,
        ballot: _Ballot,
        reply: BaseMessage | None,
        note: str,
    ) -> Vote:
        inputs = list(ballot.inputs)
        calls = (reply,) if isinstance(reply, AIMessage) else ()
        if reply is not None and ballot.entry is not None:
            tests = written([str(reply.text)], ballot.entry)
            # Beside the tests, so that a slow sample loses the generated inputs first.
            known = [one for one in inputs if one.origin != "generated"]
            inputs = known + tests + [one for one in inputs if one.origin == "generated"]
            note = note if tests else "the model that writes tests wrote none that could be run"
        sources = list(dict.fromkeys(program for program in ballot.programs if program is not None))
        if not sources or not inputs:
            missing = (
                "no sample holds a Python program" if not sources else "there is no input to run the code on"
            )
            elected = MajorityVoter(self.weights, self.policy).vote(samples, question)
            return replace(elected, voter=self.name, calls=calls, note=f"{missing}: majority vote instead")
        results = self._run(sources, ballot.entry, inputs)
        runs = [None if program is None else results[program] for program in ballot.programs]
        vote = elect(samples, runs, inputs, self.weights, self.policy)
        code = canonical_code(ballot.programs[vote.winner] or "", "python")
        return replace(vote, answer=Answer("code", code), calls=calls, note=note)

    def _run(
        self, sources: Sequence[str], entry: Signature | None, inputs: Sequence[Input]
    ) -> dict[str, list[Probed]]:
        """Run every program on every input: one sandbox a core, each for a part of them."""
        workers = min(len(sources), os.cpu_count() or 1)
        share = min(_MOST, max(_LEAST, self.timeout * workers / len(sources)))
        sandbox = Sandbox(timeout=share, level=self.level)
        probes = [one.probe for one in inputs]
        waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
        for source in sources:
            waiting.put(source)
        results: dict[str, list[Probed]] = {}
        failures: list[BaseException] = []

        def work() -> None:
            try:
                with sandbox.open() as session:
                    while True:
                        source = waiting.get_nowait()
                        if entry is None:
                            results[source] = _run_script(session, source, probes)
                        else:
                            results[source] = session.probe(source, probes, call_seconds=_CALL)
            except queue.Empty:
                return
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, name="execution-vote") for _ in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        return results


def _run_script(session: Session, source: str, probes: Sequence[Probe]) -> list[Probed]:
    results = []
    for probe in probes:
        ran = session.run_script(source, probe.call or "")
        right = not ran.detail and same_output(ran.output, probe.expected or "")
        shown = ran.detail or " ".join(ran.output.split())
        results.append(Probed(None if right else ran.detail or "another output", shown))
    return results


def _no_tests(error: Exception) -> str:
    return f"no tests were written ({type(error).__name__}): the vote is by agreement alone"


def elect(
    samples: Sequence[Sample],
    runs: Sequence[Results | None],
    inputs: Sequence[Input],
    weighting: Weighting = "equal",
    policy: VotePolicy | None = None,
) -> Vote:
    """Elect by what the samples' programs gave; see `ExecutionVoter`.

    Args:
        samples: All samples.
        runs: For each what every input gave; None when it has no program and abstains. One at least has one.
        inputs: The inputs.
        weighting: How the samples' votes weigh.
        policy: A learned vote.
    """
    kept = [k for k in range(len(inputs)) if inputs[k].origin != "generated" or _in_domain(runs, k)]
    binding = [k for k in kept if inputs[k].binding]
    tests = [k for k in kept if inputs[k].origin == "written"]
    classes: dict[tuple[str, ...], list[int]] = {}
    for i, run in enumerate(runs):
        if run is not None:
            classes.setdefault(tuple(_behaviour(run[k]) for k in kept), []).append(i)
    keys, groups = list(classes), list(classes.values())
    passed = [(_passed(runs[group[0]], binding), _passed(runs[group[0]], tests)) for group in groups]
    most = max(own for own, _ in passed)
    factors = [1 + also if own == most else 0 for own, also in passed]
    chances = None if policy is None else group_chances(policy, samples, groups)
    votes = weigh(samples, weighting)
    counted = [math.fsum(votes[i] for i in group) for group in groups]
    weights = [
        base * factor
        for base, factor in zip(
            chances if chances and weighting == "learned" else counted, factors, strict=True
        )
    ]
    ranked = []
    for number, group in enumerate(groups):
        best = min(group, key=lambda i: (-score_of(samples[i]), i))
        ranked.append((-round(weights[number], 9), -score_of(samples[best]), group[0], best, number))
    ranked.sort()
    telling = _telling(kept, keys, inputs)
    of = (len(binding), len(tests))
    tally = tuple(
        Candidate(_described(keys[n], telling, passed[n], of), -weight, len(groups[n]), tuple(groups[n]))
        for weight, _, _, _, n in ranked
    )
    if policy is not None and chances is not None:
        # Tests move the chances of the classes; that none of them is right keeps its own.
        moved = [chance * factor for chance, factor in zip(chances, factors, strict=True)]
        share = moved[ranked[0][4]] / (math.fsum(moved) + max(0.0, 1 - math.fsum(chances)))
        confidence = policy.calibrated(share, len(samples))
    else:
        confidence = tally[0].weight / math.fsum(candidate.weight for candidate in tally)
    return Vote(
        winner=ranked[0][3],
        answer=None,
        tally=tally,
        confidence=confidence,
        abstained=tuple(i for i, run in enumerate(runs) if run is None),
        tie=len(tally) > 1 and tally[0].weight == tally[1].weight,
        voter=ExecutionVoter.name,
    )


def _behaviour(result: Probed) -> str:
    return result.shown or ("passes" if result.failure is None else "fails")


def _in_domain(runs: Sequence[Results | None], k: int) -> bool:
    """Whether most programs return a value for an input that nobody has vouched for."""
    given = [run[k] for run in runs if run is not None]
    return 2 * sum(result.failure is None for result in given) > len(given)


def _passed(run: Results | None, which: Sequence[int]) -> int:
    return sum(run[k].failure is None for k in which) if run is not None else 0


def _telling(
    kept: Sequence[int], keys: Sequence[tuple[str, ...]], inputs: Sequence[Input]
) -> list[tuple[int, str]]:
    """The inputs by which classes are told apart, the most telling first: (place in a class's key, call)."""
    calls = [(place, inputs[k].probe.call) for place, k in enumerate(kept)]
    known = [(place, " ".join(call.split())) for place, call in calls if call is not None]
    return sorted(known, key=lambda item: -len({key[item[0]] for key in keys}))[:2]


def _described(
    key: tuple[str, ...], telling: Sequence[tuple[int, str]], passed: tuple[int, int], of: tuple[int, int]
) -> str:
    """A behaviour in one line."""
    parts = [
        f"{call[:60]} {'' if key[place].startswith(_NO_VALUE) else 'gives '}{key[place][:60]}"
        for place, call in telling
    ]
    for name, count, total in zip(("examples", "written tests"), passed, of, strict=True):
        if total:
            parts.append(f"passes {count} of {total} {name}")
    return "; ".join(parts)[:_SHOWN]
