from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel, FakeListChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field

from langchain_avengers.calibration.options import CalibrationOptions
from langchain_avengers.calibration.plan import plan
from langchain_avengers.calibration.runner import acalibrate, calibrate
from langchain_avengers.calibration.store import Store
from langchain_avengers.errors import CalibrationError, PoolError
from langchain_avengers.pool import ModelSpec, Pool, Price

QUESTIONS = [{"query": f"q{i}", "answer": str(i), "task": "t"} for i in range(6)]


class Model(BaseChatModel):
    """Answers with the number in the question; `wrong` with another; `script` says what to raise, call by call."""

    wrong: set[str] = Field(default_factory=set)
    script: list[Any] = Field(default_factory=list)
    usage: dict[str, int] | None = None
    calls: list[str] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        text = str(messages[-1].content)
        self.calls.append(text)
        if self.script and (error := self.script.pop(0)):
            raise error
        message = AIMessage("no" if text in self.wrong else text[1:], usage_metadata=self.usage)  # type: ignore[arg-type]
        return ChatResult(generations=[ChatGeneration(message=message)])


def model(**fields: Any) -> Model:
    return Model(**{"calls": [], "script": [], **fields})


def test_the_table_is_what_was_measured(tmp_path: Path) -> None:
    models = {"good": model(), "bad": model(wrong={"q1", "q2", "q3"})}
    table = calibrate(models, QUESTIONS, out=tmp_path, samples=2)
    assert table.models == ["good", "bad"]
    assert table.tasks == ["t"] * 6
    assert table.scores.T.tolist() == [[1] * 6, [1, 0, 0, 0, 1, 1]]
    assert table.answers is not None
    assert table.answers[1].tolist() == ["1", "no"]
    assert len(models["good"].calls) == 12


def test_a_second_run_asks_nothing_and_a_larger_one_only_the_rest(tmp_path: Path) -> None:
    first, again = model(), model()
    table = calibrate({"m": first}, QUESTIONS[:4], out=tmp_path)
    assert calibrate({"m": again}, QUESTIONS[:4], out=tmp_path).scores.tolist() == table.scores.tolist()
    assert again.calls == []
    calibrate({"m": again}, QUESTIONS, out=tmp_path, samples=2)
    assert sorted(again.calls) == sorted([f"q{i}" for i in range(4)] + ["q4", "q4", "q5", "q5"])
    newcomer = model()
    calibrate({"m": again, "n": newcomer}, QUESTIONS, out=tmp_path)
    assert len(newcomer.calls) == 6


def test_it_works_inside_a_running_loop() -> None:
    async def main() -> Any:
        return calibrate({"m": model()}, QUESTIONS)

    assert asyncio.run(main()).scores.mean() == 1


async def test_failures_are_retried_and_then_marked_with_their_cause(tmp_path: Path) -> None:
    shaky = model(script=[TimeoutError(), None, ConnectionResetError()])
    table = await acalibrate({"m": shaky}, QUESTIONS[:2], out=tmp_path / "a", max_concurrency=1)
    assert table.scores.tolist() == [[1.0], [1.0]]
    assert Store(tmp_path / "a").status()[0].attempts == {"answered": 2, "failed": 2}

    class RefusedError(Exception):
        status_code = 400

    refusing = model(script=[RefusedError("bad words")])
    with pytest.warns(UserWarning, match="not everything was measured: m: refused"):
        table = await acalibrate({"m": refusing}, QUESTIONS[:2], out=tmp_path / "b", max_concurrency=1)
    assert table.queries == ["q1"]
    (status,) = Store(tmp_path / "b").status()
    assert (status.graded, status.failed, status.pending) == (1, {"refused (400): bad words": 1}, 0)
    with pytest.warns(UserWarning, match="refused"):
        await acalibrate({"m": refusing}, QUESTIONS[:2], out=tmp_path / "b")
    assert len(refusing.calls) == 2  # what was refused for good is not asked again ...
    await acalibrate({"m": refusing}, QUESTIONS[:2], out=tmp_path / "b", retry_failed=True)
    assert len(refusing.calls) == 3  # ... unless told to


async def test_a_dead_model_is_given_up_and_the_run_goes_on(tmp_path: Path) -> None:
    class NoKeyError(Exception):
        status_code = 401

    dead = model(script=[NoKeyError("no")] * 100)
    with pytest.warns(UserWarning, match=r"dead: refused \(401\): no \(6\)"):
        table = await acalibrate({"dead": dead, "good": model()}, QUESTIONS, out=tmp_path, max_concurrency=2)
    assert table.models == ["good"]
    dead.script.clear()
    table = await acalibrate({"dead": dead, "good": model()}, QUESTIONS, out=tmp_path)
    assert table.scores.tolist() == [[1.0, 1.0]] * 6


async def test_the_budget_stops_cleanly_and_a_higher_one_goes_on(tmp_path: Path) -> None:
    usage = {"input_tokens": 100_000, "output_tokens": 0, "total_tokens": 100_000}
    models = {"m": model(usage=usage)}
    options: dict[str, Any] = {
        "out": tmp_path,
        "prices": {"m": Price(input=1, output=0)},
        "max_concurrency": 2,
    }
    with pytest.warns(UserWarning, match="stopped early: budget"):
        await acalibrate(models, QUESTIONS, max_cost=0.35, **options)
    store = Store(tmp_path)
    assert store.cost() == pytest.approx(0.3)
    assert store.status()[0].pending == 3
    table = await acalibrate(models, QUESTIONS, max_cost=5.0, **options)
    assert len(models["m"].calls) == 6
    assert table.costs is not None
    assert table.costs.ravel() == pytest.approx([0.1] * 6)


async def test_unknown_usage_is_an_unknown_cost_and_is_warned_of(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="reports no usage"):
        table = await acalibrate({"m": model()}, QUESTIONS[:1], prices={"m": Price(input=1, output=1)})
    assert table.costs is None


async def test_a_grader_that_fails_loses_no_answer(tmp_path: Path) -> None:
    asked = model()

    def broken(answer: str) -> float:
        raise RuntimeError("grader is down")

    with (
        pytest.warns(UserWarning, match="grader is down"),
        pytest.raises(CalibrationError, match="no answer was graded"),
    ):
        await acalibrate({"m": asked}, QUESTIONS, broken, out=tmp_path)
    with pytest.raises(CalibrationError, match=r"was graded by .*broken.*ask to regrade"):
        await acalibrate({"m": asked}, QUESTIONS, "exact", out=tmp_path)
    table = await acalibrate({"m": asked}, QUESTIONS, "exact", out=tmp_path, regrade=True)
    assert table.scores.mean() == 1
    assert len(asked.calls) == 6


async def test_stop_ends_the_run_after_what_is_on_its_way(tmp_path: Path) -> None:
    stop = threading.Event()

    class Stopping(Model):
        def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
            if len(self.calls) == 2:
                stop.set()
            return super()._generate(messages)

    stopping = Stopping(calls=[])
    with pytest.warns(UserWarning, match="stopped early: stopped"):
        table = await acalibrate({"m": stopping}, QUESTIONS, out=tmp_path, stop=stop, max_concurrency=1)
    assert len(table) == len(stopping.calls) == 3


async def test_no_key_in_the_store(tmp_path: Path) -> None:
    from pydantic import SecretStr

    class Leaky(Model):
        api_key: SecretStr = SecretStr("the-secret-key-42")

        def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
            if messages[-1].content == "q0":
                raise ValueError("Incorrect API key provided: the-secret-key-42")
            message = AIMessage("your key is the-secret-key-42")
            return ChatResult(generations=[ChatGeneration(message=message)])

    with pytest.warns(UserWarning, match="not everything was measured") as caught:
        table = await acalibrate({"m": Leaky(calls=[])}, QUESTIONS[:2], out=tmp_path, max_attempts=1)
    assert table.answers is not None
    assert table.answers[0, 0] == "your key is ***"
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"the-secret-key" not in stored
    assert not any("the-secret-key" in str(warning.message) for warning in caught)


def test_plan_asks_nothing_and_needs_no_key(tmp_path: Path) -> None:
    pool = Pool([
        ModelSpec(name="a", api_key_env="NOT_SET", price=Price(input=1, output=1), max_tokens=100),
        ModelSpec(name="b", capabilities=("no-n",)),
    ])  # fmt: skip
    a, b = plan(pool, QUESTIONS, CalibrationOptions(samples=3, limit=4), out=tmp_path)
    assert (a.questions, a.answers, a.requests, a.output_tokens) == (4, 12, 4, 1200)
    assert a.cost == pytest.approx((a.input_tokens + 1200) / 1e6)
    assert (b.requests, b.cost) == (12, None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"samples": 0}, CalibrationError, "samples must be at least 1"),
        ({"max_cost": -1.0}, CalibrationError, "max_cost must be positive"),
        ({"no_such": 1}, CalibrationError, "no_such"),
        ({"judge": "nobody", "grader": "judge"}, PoolError, "judge 'nobody' is not in the pool"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        calibrate({"m": model()}, QUESTIONS, **options)
    with pytest.raises(PoolError, match="no models"):
        calibrate({}, QUESTIONS)
    with pytest.raises(CalibrationError, match="no questions"):
        calibrate({"m": FakeListChatModel(responses=["x"])}, [])


async def test_runners_on_one_store_keep_one_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("langchain_avengers.calibration.budget._LOOK", 0.02)

    class Slow(Model):
        def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
            time.sleep(0.1)
            return super()._generate(*args, **kwargs)

    usage = {"input_tokens": 100_000, "output_tokens": 0, "total_tokens": 100_000}
    slow = Slow(calls=[], script=[], usage=usage)
    questions = [{"query": f"q{i}", "answer": str(i)} for i in range(80)]
    options: dict[str, Any] = {
        "max_concurrency": 1,
        "prices": {"m": Price(input=1, output=0)},
        "max_cost": 1.0,
    }
    with pytest.warns(UserWarning, match="stopped early: budget"):
        await asyncio.gather(*(acalibrate({"m": slow}, questions, out=tmp_path, **options) for _ in range(2)))
    assert Store(tmp_path).cost() == pytest.approx(1.0, abs=0.11)  # what the other had on its way, unseen
