"""The workers that compare expressions: time limits, fairness, what a vote says of them."""

from __future__ import annotations

import threading

import pytest
from langchain_core.messages import AIMessage

from langchain_avengers.voting import mathematics
from langchain_avengers.voting.extraction.answer import Answer
from langchain_avengers.voting.mathematics import MathPool, MathTime, math_verify_installed
from langchain_avengers.voting.vote import Sample
from langchain_avengers.voting.voters import MajorityVoter

pytestmark = pytest.mark.skipif(not math_verify_installed(), reason="the extra `math` is not installed")


class Slow:
    """A worker that answers when it is let go, and keeps the order of what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.go = threading.Semaphore(0)

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def compare(self, a: str, b: str, seconds: float) -> bool | None:
        self.asked.append(a)
        self.go.acquire()
        return True


def pool_of(worker: Slow) -> MathPool:
    pool = MathPool(workers=1)
    pool._idle = [worker]  # type: ignore[list-item]
    return pool


def test_who_has_used_least_comes_next() -> None:
    worker = Slow()
    pool = pool_of(worker)
    threads = [threading.Thread(target=pool.equal, args=("first", "x", MathTime()))]
    threads[0].start()
    while not worker.asked:
        pass
    for name, used in (("heavy", 5.0), ("light", 0.0), ("middle", 1.0)):
        threads.append(threading.Thread(target=pool.equal, args=(name, "x", MathTime(used=used))))
        threads[-1].start()
        while len(pool._waiting) < len(threads) - 1:
            pass
    for _ in threads:
        worker.go.release()
    for thread in threads:
        thread.join(60)
    assert worker.asked == ["first", "light", "middle", "heavy"]


def test_a_vote_without_time_left_gives_up_and_says_so() -> None:
    spent = MathTime(used=1e9)
    assert not MathPool(workers=1).equal("\\sqrt{7}", "7^{0.5}", spent)
    assert spent.given_up == 1
    assert "took too long" in spent.note
    assert MathTime().note == ""


def test_a_worker_that_overruns_is_killed_and_replaced() -> None:
    pool, spent = MathPool(workers=1, seconds=0.0), MathTime()
    assert not pool.equal("x+1", "1+x", spent)  # no time at all
    assert spent.given_up == 1
    pool._seconds = 60.0
    assert not pool.equal("x+1", "1+x", spent)  # not tried again for a while
    assert pool.equal("x+2", "2+x", spent)
    pool.stop()


def test_the_note_of_a_vote_tells_of_given_up_comparisons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mathematics, "_VOTE_SECONDS", 0.0)
    samples = [Sample(AIMessage("")), Sample(AIMessage(""))]
    answers = [Answer("math", "\\sqrt{11}+y"), Answer("math", "y+11^{0.5}")]
    assert "took too long" in MajorityVoter().elect(samples, answers).note
