"""What goes wrong between a runner and a model, and whether to ask again, give up the cell, or the model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from langchain_avengers.errors import AvengersError, CalibrationError
from langchain_avengers.providers import one_line, retry_after, status_of


class StoreError(CalibrationError):
    """The store cannot be read or written: no cell can be measured, so the run ends."""


class ModelDeadError(AvengersError, RuntimeError):
    """A model failed for so long that it was given up."""


class RunStoppedError(AvengersError, RuntimeError):
    """The run is to end, so nothing more is sent."""


@dataclass(slots=True)
class Failure(Exception):
    """A request that brought no answer.

    Attributes:
        cause: What it was, in one line without secrets.
        retryable: The same request may succeed later.
        fatal: No request to this model will succeed (wrong key, no such model).
        retry_after: Seconds the server asked to wait.
        refused: The server refused the request's form; with several answers asked at once, perhaps for that.
        unreached: Nothing was sent: there was no connection.
    """

    cause: str
    retryable: bool = True
    fatal: bool = False
    retry_after: float | None = None
    refused: bool = False
    unreached: bool = False

    @property
    def rate_limited(self) -> bool:
        """The server is well and asks to wait."""
        return self.cause.startswith("rate limited")


# Errors of HTTP libraries and asyncio by name, so that none of them need be imported.
_NO_CONNECTION = {
    "ConnectError", "ConnectTimeout", "PoolTimeout", "ConnectionRefusedError", "gaierror",
    "ClientConnectorError", "ConnectionTimeoutError",
}  # fmt: skip
_LOST = {"APIConnectionError", "ConnectionError", "ClientConnectionError", "ClientPayloadError"}
_LATE = {"TimeoutError", "APITimeoutError", "TimeoutException"}


def as_failure(error: BaseException) -> Failure:
    """Read any error of a chat model as a failure."""
    if isinstance(error, Failure):
        return error
    text, status = one_line(error, 200), status_of(error)
    text = text.removeprefix(f"Error code: {status} - ")  # openai's; the cause says it already
    links = list(_chain(error))
    kinds = {kind.__name__ for link in links for kind in type(link).__mro__}
    if "ResponseTooLargeError" in kinds:
        large = next(link for link in links if type(link).__name__ == "ResponseTooLargeError")
        return Failure(f"not an answer: {one_line(large, 200)}", retryable=False)
    if kinds & _NO_CONNECTION:
        why = one_line(links[-1], 100)
        return Failure(f"unreachable: no connection{why and f' ({why})'}", unreached=True)
    if kinds & _LATE:
        return Failure("timeout: no answer in time")
    if status is not None and status >= 300:
        return _of_status(status, error, text)
    if kinds & _LOST:
        return Failure("connection lost")
    return Failure(f"not an answer: {type(error).__name__}: {text}")


def _of_status(status: int, error: BaseException, text: str) -> Failure:
    wait = retry_after(error)
    if status == 429 and getattr(error, "code", None) == "insufficient_quota":
        return Failure(f"no quota: {text}", fatal=True)
    if status == 429:
        return Failure("rate limited (429)", retry_after=wait)
    if status in (408, 409, 425) or status >= 500:
        return Failure(f"server error {status}", retry_after=wait)
    if status < 400:
        return Failure(f"redirected ({status}): give the server's own address as base_url", fatal=True)
    if status in (401, 403, 404):
        return Failure(f"refused ({status}): {text}", fatal=True)
    return Failure(f"refused ({status}): {text}", retryable=False, refused=True)


def _chain(error: BaseException) -> Iterable[BaseException]:
    seen = set[int]()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__
