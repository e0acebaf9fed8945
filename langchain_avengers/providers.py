"""What the package says once about model providers: chat models, token prices, errors, and secrets in texts."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from langchain_avengers.errors import PoolError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

# Chat models


def chat_model(name: str, model: Any) -> Any:
    """The chat model that a user gave, ready to be called.

    Args:
        name: The pool's name of the model, for errors.
        model: An `init_chat_model` string such as `"openai:gpt-4o-mini"`; anything else is returned as it is.

    Raises:
        PoolError: LangChain is not installed, or it cannot build the model.
    """
    if isinstance(model, str):
        return build_chat_model(name, None, {"model": model})
    redact.add(*secrets_of(model))
    return model


def build_chat_model(name: str, provider: str | None, arguments: Mapping[str, Any]) -> BaseChatModel:
    """Build a chat model of a provider.

    Args:
        name: The pool's name of the model, for errors.
        provider: `"openai"`, or any other name that LangChain's `init_chat_model` knows. None: the model's own
            string names it.
        arguments: Keyword arguments of the chat model's class.

    Raises:
        PoolError: The provider's package is not installed, or it refuses the arguments.
    """
    redact.add(*secrets_in(arguments))
    try:
        if provider == "openai":
            from langchain_openai import ChatOpenAI

            built: BaseChatModel = ChatOpenAI(**arguments)
        else:
            try:
                from langchain.chat_models import init_chat_model
            except ImportError:
                raise PoolError(
                    f"model {name!r} is given by name, which needs an extra: "
                    "pip install 'langchain-avengers[agents]'"
                ) from None
            # Typed loosely: its overloads know no keyword arguments of providers.
            initialise: Callable[..., BaseChatModel] = init_chat_model
            built = initialise(model_provider=provider, **arguments)
    except PoolError:
        raise
    except ImportError as error:
        what = f"provider {provider!r}" if provider else f"{arguments.get('model')!r}"
        raise PoolError(f"model {name!r}: {what} needs a package: {one_line(error)}") from error
    except Exception as error:  # a provider's constructor may raise anything; the user sees one line
        raise PoolError(f"model {name!r}: cannot be built: {one_line(error)}") from None
    redact.add(*secrets_of(built))
    return built


TokenPrice = tuple[float, float] | tuple[float, float, float]
"""US dollars per million tokens: input, output, and input that the provider had in its cache (else as input)."""


def token_cost(
    price: TokenPrice, input_tokens: float, output_tokens: float, cached_tokens: float = 0.0
) -> tuple[float, float]:
    """US dollars of a request's input and of its output; `cached_tokens` are part of the input's."""
    if cached_tokens and len(price) == 3:
        input_dollars = (input_tokens - cached_tokens) * price[0] + cached_tokens * price[2]
        return input_dollars / 1e6, output_tokens * price[1] / 1e6
    return input_tokens * price[0] / 1e6, output_tokens * price[1] / 1e6


# Errors

_MAY_PASS = {408, 409, 425, 429}
_NEVER_PASSES = (TypeError, AttributeError, NotImplementedError, ImportError)


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an error carries; None when it carries none."""
    for holder in (error, getattr(error, "response", None)):
        status = getattr(holder, "status_code", None)
        if isinstance(status, int):
            return status
    return None


def may_pass(error: BaseException) -> bool:
    """Whether the same request may succeed when it is made again."""
    status = status_of(error)
    if status is not None and status >= 400:
        return status >= 500 or status in _MAY_PASS
    return not isinstance(error, _NEVER_PASSES)


def blames_query(error: BaseException) -> bool:
    """Whether the provider refused the query itself (a filter, its length): other queries may well pass."""
    return status_of(error) in (400, 413, 422)


def retry_after(error: BaseException) -> float | None:
    """Seconds that a server asked to wait, by the Retry-After header of its response.

    None when it did not ask, or when the header is neither a number of seconds from 0 nor a date. There is no
    upper bound: the caller says how long it waits at most.
    """
    headers = getattr(getattr(error, "response", error), "headers", None)
    get = getattr(headers, "get", None)
    if get is None:
        return None
    try:
        for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
            if (value := get(name)) is None:
                continue
            try:
                seconds = float(value) * unit
            except ValueError:
                left = parsedate_to_datetime(value).astimezone(UTC) - datetime.now(UTC)
                seconds = max(0.0, left.total_seconds())
            return seconds if math.isfinite(seconds) and seconds >= 0 else None
    except (ValueError, TypeError, OverflowError):
        pass
    return None


def one_line(error: BaseException, length: int = 300) -> str:
    """An error's text in one line of at most `length` characters, without secrets."""
    return redact(" ".join(str(error)[: 20 * length].split()))[:length]


def describe(error: BaseException) -> str:
    """An error's kind and text in one line, without secrets."""
    name, text = type(error).__name__, one_line(error)
    if isinstance(error, TimeoutError) and not text:
        text = "no answer in time"
    if error.__cause__ is not None and text in ("", "Connection error."):
        text = f"{text} ({type(error.__cause__).__name__}: {one_line(error.__cause__)})".strip()
    return f"{name}: {text}" if text else name


def without_secrets(error: Exception) -> Exception:
    """The error with texts that hold no secret, and so for each error that led to it; changed in place.

    One whose text cannot be changed is replaced by a `RuntimeError` that says the same.
    """
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        if redact(str(link)) != str(link):
            link.args = tuple(redact(arg) if isinstance(arg, str) else arg for arg in link.args)
        if redact(str(link)) != str(link):  # its text is not made of its arguments
            return RuntimeError(describe(error))
        link = link.__cause__ or link.__context__
    return error


# Secrets


_PLAIN = re.compile(r"[A-Za-z]{1,11}|[\d.,:\-]{1,11}")


class SecretRedactor:
    """Takes secrets out of texts: the values it was given, and what looks like a key or a login.

    The package holds one, `redact`. Every key, header value, query value and URL login of a model that the package
    builds or is given goes into it, and every error, log line and stored text passes through it.

    Args:
        secrets: Values to know.

    Example:
        >>> SecretRedactor(["correct horse"])("the key 'correct horse' or sk-abcdefgh12 is wrong")
        "the key '***' or *** is wrong"
    """

    SHORTEST = 6
    """Characters. A shorter value is no secret, and would be found everywhere."""

    _LIKE_A_KEY = re.compile(
        r"(?i:\b(?:sk|pk|gsk|hf|lsv2|xai|key|token)[-_][\w.*\-]{6,}"
        r"|\bbearer[ ]\S{8,}|\b(?:token|key)[ ](?=\S*\d)[\w.*\-+/=]{8,})"
    )
    _LOGIN = re.compile(r"(?<=://)[^/\s@]+@")

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Take the first values."""
        self._secrets: tuple[str, ...] = ()
        self.add(*secrets)

    def add(self, *secrets: str) -> None:
        """Know further values, as they are and in the forms in which URLs, JSON and logins hold them."""
        forms = {
            form
            for secret in secrets
            if len(secret) >= self.SHORTEST
            for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1])
        }
        if not forms <= set(self._secrets):
            # A longer value may hold a shorter one: it goes first. One assignment, as other threads read.
            self._secrets = tuple(sorted(forms | set(self._secrets), key=len, reverse=True))

    def known(self, text: str) -> str:
        """The text without the values given."""
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, "***")
        return text

    def in_answer(self, text: str) -> str:
        """An answer of a model without the values given.

        Plain words and numbers stay: a local server's key is often one, such as `ollama`, and an answer that loses
        its words is graded wrong.
        """
        for secret in self._secrets:
            if secret in text and not _PLAIN.fullmatch(secret):
                text = text.replace(secret, "***")
        return text

    def __call__(self, text: str) -> str:
        """The text without the values given, and without what looks like a key or a login."""
        return self._LOGIN.sub("***@", self._LIKE_A_KEY.sub("***", self.known(text)))


redact = SecretRedactor()
"""The package's redactor."""

_SENT = {"default_headers", "default_query", "extra_headers", "extra_query"}
"""Arguments of chat models that go into the request as they are."""

_HARMLESS = {
    "accept", "content-type", "user-agent", "referer", "http-referer", "x-title", "api-version", "openai-beta",
    "anthropic-version", "anthropic-beta", "cache-control",
}  # fmt: skip
"""Headers and query parameters whose values are no secrets."""


def secrets_of(model: Any) -> list[str]:
    """The secret values that a chat model holds: keys, header and query values, logins in addresses."""
    bound = getattr(model, "bound", None)  # of a runnable around a model
    if bound is not None:
        return secrets_of(bound)
    names = getattr(type(model), "model_fields", ())
    return list(secrets_in({name: getattr(model, name, None) for name in names}))


def secrets_in(arguments: Mapping[str, Any]) -> Iterator[str]:
    """The secret values among a chat model's arguments; see `secrets_of`."""
    from pydantic import SecretStr

    for name, value in arguments.items():
        if isinstance(value, SecretStr):
            yield value.get_secret_value()
        elif isinstance(value, Mapping) and name in _SENT:
            for key, item in value.items():
                if isinstance(item, str) and str(key).lower() not in _HARMLESS:
                    yield item
                    yield from item.split()[1:]  # "Bearer KEY"
        elif isinstance(value, Mapping):
            yield from secrets_in(value)  # such as `model_kwargs`
        elif isinstance(value, str) and "@" in value and "://" in value:
            yield from _login(value)


def _login(url: str) -> Iterator[str]:
    login, at, _ = urlsplit(url).netloc.rpartition("@")
    if not at:
        return
    user, _, password = login.partition(":")
    yield from (login, unquote(password) or unquote(user))
    yield base64.b64encode(unquote(login).encode(errors="replace")).decode()
