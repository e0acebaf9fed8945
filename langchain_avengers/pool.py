"""A pool file: which models there are, how each is reached, what it costs, how hard it may be pressed.

```yaml
models:
  qwen:
    provider: openai            # any server that speaks the OpenAI protocol; others through init_chat_model
    model: qwen2.5-7b-instruct  # the provider's name of it; the entry's own name when left out
    base_url: http://127.0.0.1:8000/v1
    api_key_env: QWEN_API_KEY   # the NAME of the environment variable; a key itself never stands in a file
    price: {input: 0.10, output: 0.30, cached_input: 0.05}   # US dollars per million tokens
    capabilities: [tools, n]    # n: takes `n` answers in one request
    max_concurrency: 8
    requests_per_minute: 600
    temperature: 0.7
    max_tokens: 512
```
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from langchain_avengers._text import shorten
from langchain_avengers.errors import PoolError
from langchain_avengers.providers import TokenPrice, build_chat_model, redact, secrets_in, token_cost

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


class Price(BaseModel):
    """US dollars per million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: float = Field(ge=0, allow_inf_nan=False)
    output: float = Field(ge=0, allow_inf_nan=False)
    cached_input: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Of input tokens that the provider had in its cache; as `input` where None."""

    @property
    def per_million(self) -> TokenPrice:
        """As a tuple: input, output and, where it is known, cached input."""
        both = (self.input, self.output)
        return both if self.cached_input is None else (*both, self.cached_input)

    def cost(self, input_tokens: float, output_tokens: float) -> float:
        """US dollars of a request."""
        return sum(token_cost((self.input, self.output), input_tokens, output_tokens))


_LIKE_A_NAME = re.compile(r"[A-Z]{1,20}|[A-Z]{1,20}(_[A-Z0-9]{1,20})+")


class ModelSpec(BaseModel):
    """One entry of a pool file.

    Attributes:
        name: The pool's name of the model, as tables and routers know it.
        provider: `"openai"` for any server of that protocol; other names go to LangChain's `init_chat_model`.
        model: The provider's name of the model; `name` when empty.
        base_url: Address of the server; the provider's own when None.
        api_key_env: Name of the environment variable that holds the key. None: the provider's usual variable,
            or, for provider `"openai"` with a `base_url`, no key.
        price: US dollars per million tokens; None is "not known", never free.
        capabilities: What the model can do: `"tools"`, `"images"`, `"n"`, `"no-n"`, `"json"`, ... Free words;
            `"n"` and `"no-n"` say whether several answers may be asked in one request (else it is tried).
        max_concurrency: Requests in flight at once, of all queries together; further ones wait.
        requests_per_minute: Upper bound; None for none.
        timeout: Seconds one request may take.
        options: Further keyword arguments of the chat model's class.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")
    provider: str = Field(default="openai", max_length=100)
    model: str = Field(default="", max_length=500)
    base_url: str | None = Field(default=None, max_length=2000)
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    price: Price | None = None
    capabilities: tuple[str, ...] = ()
    max_concurrency: int = Field(default=8, ge=1, le=10_000)
    requests_per_minute: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    timeout: float = Field(default=120.0, gt=0, allow_inf_nan=False)
    temperature: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    max_tokens: int | None = Field(default=None, ge=1, le=10**9)
    options: dict[str, Any] = Field(default_factory=dict)

    @field_validator("options")
    @classmethod
    def _no_key(cls, options: dict[str, Any]) -> dict[str, Any]:
        if found := [name for name in options if "key" in name.lower() or "secret" in name.lower()]:
            raise ValueError(
                f"{found[0]} must not stand in a file: put its environment variable in api_key_env"
            )
        return options

    @model_validator(mode="after")
    def _known_to_the_redactor(self) -> Self:
        redact.add(*secrets_in({"base_url": self.base_url, **self.options}))
        return self

    def __repr__(self) -> str:
        """The entry without secrets."""
        return redact(super().__repr__())

    def __str__(self) -> str:
        """The entry without secrets."""
        return redact(super().__str__())

    def key(self) -> SecretStr | None:
        """The key from the environment; None when the entry names no variable.

        Raises:
            PoolError: The named variable is not set.
        """
        if self.api_key_env is None:
            return None
        if not (value := os.environ.get(self.api_key_env)):
            # The key itself may stand there by mistake: only what looks like a name is repeated.
            name = self.api_key_env if _LIKE_A_NAME.fullmatch(self.api_key_env) else "that api_key_env names"
            raise PoolError(f"model {self.name!r}: environment variable {name} is not set")
        redact.add(value)
        return SecretStr(value)

    def build(self) -> BaseChatModel:
        """The chat model.

        Raises:
            PoolError: The key is missing, or the provider's package is not installed or refuses the options.
        """
        key = self.key()
        if key is None and self.provider == "openai" and self.base_url:
            key = SecretStr("none")  # the client insists on one, a local server does not
        arguments = {
            "model": self.model or self.name,
            "base_url": self.base_url,
            "api_key": key,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "timeout": self.timeout,
            **self.options,
        }
        if self.provider == "openai":
            from langchain_avengers._http import AnyLoopClient, at_once, http_client

            options: dict[str, Any] = {"limits": at_once(self.max_concurrency)}
            if self.options.get("openai_proxy"):
                options["proxy"] = self.options["openai_proxy"]
            arguments = {
                "http_client": http_client(**options),
                "http_async_client": AnyLoopClient(**options),
                **arguments,
            }
        arguments = {name: value for name, value in arguments.items() if value is not None}
        return build_chat_model(self.name, self.provider, arguments)


_MOST_BYTES = 2**20
_MOST_NODES = 100_000
_DEEPEST = 20


def _read_yaml(path: Path) -> Any:
    """The YAML of a file, in bounded time and memory.

    Depth and size are counted on the stream of events, with each alias as large as what it stands for: a small file
    can otherwise nest or repeat itself until it fills the memory.
    """
    import yaml

    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise PoolError(f"{path}: cannot be read: {error.strerror}") from None
    if len(raw) > _MOST_BYTES:
        raise PoolError(f"{path}: is larger than {_MOST_BYTES >> 20} MB, which no pool file is")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise PoolError(f"{path}: is not UTF-8 text; save it as UTF-8") from None
    try:
        _check_size(yaml.parse(text, Loader=yaml.SafeLoader))
        return yaml.safe_load(text)
    except yaml.YAMLError as error:  # its own text quotes the file, which may hold a secret
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        problem = shorten(getattr(error, "problem", None) or "unreadable", 80)
        raise PoolError(f"{path}: {where}is not YAML: {redact(problem)}") from None
    except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, PoolError):
            raise PoolError(f"{path}: {error}") from None
        raise PoolError(f"{path}: holds a value that YAML cannot read ({type(error).__name__})") from None


def _text(value: object) -> Any:
    """A name given as a number or a date, as text; what has no text stays, and is refused by the schema."""
    try:
        return str(value)
    except ValueError:  # an integer of thousands of digits
        return value


def _check_size(events: Iterable[Any]) -> None:
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []  # anchor and size at its beginning
    size = 0
    for event in events:
        kind = type(event).__name__
        if kind == "AliasEvent":
            if event.anchor not in sizes:
                raise PoolError(
                    f"line {event.start_mark.line + 1}: an alias stands for something that holds it"
                )
            size += sizes[event.anchor]
        elif kind in ("MappingStartEvent", "SequenceStartEvent"):
            open_nodes.append((event.anchor, size))
            size += 1
        elif kind in ("MappingEndEvent", "SequenceEndEvent"):
            anchor, before = open_nodes.pop()
            if anchor:
                sizes[anchor] = size - before
        elif kind == "ScalarEvent":
            size += 1
            if event.anchor:
                sizes[event.anchor] = 1
        if len(open_nodes) > _DEEPEST:
            raise PoolError(f"line {event.start_mark.line + 1}: is nested deeper than {_DEEPEST} levels")
        if size > _MOST_NODES:
            raise PoolError(f"holds more than {_MOST_NODES} values, aliases included")


class Pool(Mapping[str, ModelSpec]):
    """Named models, in the order of the file.

    Example:
        >>> pool = Pool([ModelSpec(name="a", base_url="http://127.0.0.1:1/v1")])
        >>> list(pool)
        ['a']
    """

    def __init__(self, specs: list[ModelSpec]) -> None:
        """Take the entries as they are; two of one name are a `PoolError`."""
        self._specs: dict[str, ModelSpec] = {}
        for spec in specs:
            if spec.name in self._specs:
                raise PoolError(f"model name {spec.name!r} stands twice in the pool")
            self._specs[spec.name] = spec

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Read a YAML (or JSON) pool file. No model is built and no key read before `models` is used.

        Raises:
            PoolError: The file is missing or not what it should be; names the file, the entry and the field.
        """
        path = Path(path)
        data = _read_yaml(path)
        entries = data.get("models") if isinstance(data, dict) else None
        if isinstance(entries, dict):
            entries = [
                {"name": _text(name), **(entry or {})}
                if isinstance(entry or {}, dict)
                else (_text(name), entry)
                for name, entry in entries.items()
            ]
        if not isinstance(entries, list) or not entries:
            raise PoolError(f"{path}: needs a non-empty `models:` (a mapping by name, or a list with `name`)")
        specs = []
        for number, entry in enumerate(entries, 1):
            named = entry[0] if isinstance(entry, tuple) else isinstance(entry, dict) and entry.get("name")
            name = shorten(named, 60) if isinstance(named, str) and named else f"entry {number}"
            if not isinstance(entry, dict):
                raise PoolError(f"{path}: model {name!r}: must be a mapping of fields")
            try:
                specs.append(ModelSpec.model_validate(entry))
            except ValidationError as error:
                first = error.errors(include_input=False)[0]  # the input may be a key someone put there
                field = shorten(".".join(map(str, first["loc"])), 60)
                what = first["msg"].removeprefix("Value error, ")
                if field == "api_key":
                    what = "a key does not stand in a file; name its environment variable in api_key_env"
                raise PoolError(f"{path}: model {name!r}: {field}: {what}") from None
        try:
            return cls(specs)
        except PoolError as error:
            raise PoolError(f"{path}: {error}") from None

    @cached_property
    def models(self) -> dict[str, BaseChatModel]:
        """The chat models by name, built at first use."""
        return {name: spec.build() for name, spec in self._specs.items()}

    def __repr__(self) -> str:
        """The models, without secrets."""
        return f"Pool({list(self._specs.values())})"

    @property
    def prices(self) -> dict[str, Price]:
        """Prices of the models that have one."""
        return {name: spec.price for name, spec in self._specs.items() if spec.price}

    def select(self, names: list[str]) -> Pool:
        """The pool of these models only.

        Raises:
            PoolError: A name is not in the pool.
        """
        if missing := [name for name in names if name not in self._specs]:
            raise PoolError(f"no model {missing[0]!r} in the pool; it has {', '.join(self._specs)}")
        return Pool([self._specs[name] for name in names])

    def __getitem__(self, name: str) -> ModelSpec:
        """The entry of a model."""
        return self._specs[name]

    def __iter__(self) -> Iterator[str]:
        """The models' names."""
        return iter(self._specs)

    def __len__(self) -> int:
        """How many models."""
        return len(self._specs)
