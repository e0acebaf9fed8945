from __future__ import annotations

import asyncio
import contextlib
import email.utils
import time

import httpx
import openai
import pytest

from langchain_avengers.calibration.circuit_breaker import CircuitBreaker
from langchain_avengers.calibration.errors import Failure, ModelDeadError, as_failure
from langchain_avengers.providers import redact

redact.add("my-own-secret")


def status_error(status: int, headers: dict[str, str] | None = None, code: str | None = None) -> Exception:
    class StatusError(Exception):
        status_code = status
        response = httpx.Response(status, headers=headers or {})

    error = StatusError("said my-own-secret and sk-abcdefgh123")
    error.code = code  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    ("status", "retryable", "fatal", "cause"),
    [
        (429, True, False, "rate limited"), (500, True, False, "server error 500"), (503, True, False, "server error"),
        (408, True, False, "server error"), (400, False, False, "refused (400)"), (422, False, False, "refused (422)"),
        (401, True, True, "refused (401)"), (404, True, True, "refused (404)"),
    ],
)  # fmt: skip
def test_status_codes(status: int, retryable: bool, fatal: bool, cause: str) -> None:
    failure = as_failure(status_error(status))
    assert (failure.retryable, failure.fatal) == (retryable, fatal)
    assert failure.cause.startswith(cause)
    assert "secret" not in failure.cause
    assert "sk-" not in failure.cause


def test_other_errors() -> None:
    assert as_failure(TimeoutError()).cause.startswith("timeout")
    assert as_failure(ConnectionRefusedError()).cause.startswith("unreachable")
    assert as_failure(ConnectionResetError()).cause == "connection lost"
    assert as_failure(ValueError("x\ny my-own-secret")).cause == "not an answer: ValueError: x y ***"
    assert as_failure(status_error(429, code="insufficient_quota")).fatal
    request = httpx.Request("POST", "http://x")
    assert as_failure(openai.APITimeoutError(request)).cause.startswith("timeout")  # type: ignore[arg-type]
    lost = openai.APIConnectionError(request=request)  # type: ignore[arg-type]
    assert as_failure(lost).cause == "connection lost"
    lost.__cause__ = httpx.ConnectError("refused")
    assert as_failure(lost).cause == "unreachable: no connection (refused)"
    assert as_failure(lost).unreached


def test_retry_after_in_every_form() -> None:
    assert as_failure(status_error(429, {"retry-after": "7"})).retry_after == 7.0
    assert as_failure(status_error(503, {"retry-after-ms": "1500"})).retry_after == 1.5
    date = email.utils.formatdate(time.time() + 20, usegmt=True)
    wait = as_failure(status_error(429, {"retry-after": date})).retry_after
    assert wait is not None
    assert 15 < wait <= 20
    for junk in ("soon", "", "-3"):
        assert not as_failure(status_error(429, {"retry-after": junk})).retry_after


async def test_the_breaker_opens_probes_and_closes() -> None:
    breaker = CircuitBreaker(threshold=2, cooldown=0.05)
    await breaker.admit()
    breaker.fail(Failure("server error 500"))
    assert not breaker.open
    breaker.fail(Failure("server error 500"))
    assert breaker.open
    waiting = [asyncio.create_task(breaker.admit()) for _ in range(3)]
    done, _ = await asyncio.wait(waiting, timeout=1, return_when=asyncio.FIRST_COMPLETED)
    assert len(done) == 1  # one probe
    breaker.succeed()
    await asyncio.wait_for(asyncio.gather(*waiting), 2)
    assert not breaker.open


async def test_the_breaker_gives_up_after_its_patience_and_at_once_when_hopeless() -> None:
    breaker = CircuitBreaker(threshold=1, give_up_after=1.5, cooldown=0.2)
    breaker.fail(Failure("unreachable: no connection"))
    for _ in range(5):
        with contextlib.suppress(ModelDeadError):
            await breaker.admit()
            breaker.fail(Failure("unreachable: no connection"))
    with pytest.raises(ModelDeadError, match=r"given up after .* unreachable"):
        await breaker.admit()
    breaker = CircuitBreaker()
    breaker.fail(Failure("refused (401): no", fatal=True))
    with pytest.raises(ModelDeadError, match="401"):
        await breaker.admit()


async def test_requests_on_their_way_when_it_opens_do_not_put_the_probe_off() -> None:
    breaker = CircuitBreaker(threshold=1, cooldown=0.1)
    for _ in range(30):
        breaker.fail(Failure("connection lost"))
    await asyncio.wait_for(breaker.admit(), 1)


async def test_rate_limits_pause_and_never_open_the_breaker() -> None:
    breaker = CircuitBreaker(threshold=1)
    for _ in range(5):
        breaker.fail(Failure("rate limited (429)", retry_after=0.2))
    assert not breaker.open
    started = time.monotonic()
    await breaker.admit()
    assert time.monotonic() - started >= 0.15
