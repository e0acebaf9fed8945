"""A pool file: which models there are, how each is reached, what it costs, how hard it may be pressed.

```yaml
models:
  qwen:
    provider: openai            # any server that speaks the OpenAI protocol; others through init_chat_model
    model: qwen2.5-7b-instruct  # the provider's name of it; the entry's own name where left out
    base_url: http://127.0.0.1:8000/v1
    api_key_env: QWEN_API_KEY   # the NAME of the environment variable; a key itself never stands in a file
    price: {input: 0.10, output: 0.30}   # US dollars per million tokens
    capabilities: [tools, n]    # n: takes `n` answers in one request
    max_concurrency: 8
    requests_per_minute: 600
    temperature: 0.7
    max_tokens: 512
```
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from langchain_avengers.errors import PoolError
from langchain_avengers.providers import build_chat_model, token_cost

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


class Price(BaseModel):
    """US dollars per million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: float = Field(ge=0)
    output: float = Field(ge=0)

    def cost(self, input_tokens: float, output_tokens: float) -> float:
        """US dollars of a request."""
        return sum(token_cost((self.input, self.output), input_tokens, output_tokens))


class ModelSpec(BaseModel):
    """One entry of a pool file.

    Attributes:
        name: The pool's name of the model, as tables and routers know it.
        provider: `"openai"` for any server of that protocol; other names go to LangChain's `init_chat_model`.
        model: The provider's name of the model; `name` where empty.
        base_url: Address of the server; the provider's own where None.
        api_key_env: Name of the environment variable that holds the key. None: the provider's usual variable,
            or, for provider `"openai"` with a `base_url`, no key.
        price: US dollars per million tokens; None is "not known", never free.
        capabilities: What the model can do: `"tools"`, `"images"`, `"n"`, `"no-n"`, `"json"`, ... Free words;
            `"n"` and `"no-n"` say whether several answers may be asked in one request (else it is tried).
        max_concurrency: Requests in flight at once.
        requests_per_minute: Upper bound; None for none.
        timeout: Seconds one request may take.
        options: Further keyword arguments of the chat model's class.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    provider: str = "openai"
    model: str = ""
    base_url: str | None = None
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    price: Price | None = None
    capabilities: tuple[str, ...] = ()
    max_concurrency: int = Field(default=8, ge=1)
    requests_per_minute: float | None = Field(default=None, gt=0)
    timeout: float = Field(default=120.0, gt=0)
    temperature: float | None = Field(default=None, ge=0)
    max_tokens: int | None = Field(default=None, ge=1)
    options: dict[str, Any] = Field(default_factory=dict)

    @field_validator("options")
    @classmethod
    def _no_key(cls, options: dict[str, Any]) -> dict[str, Any]:
        if found := [name for name in options if "key" in name.lower() or "secret" in name.lower()]:
            raise ValueError(
                f"{found[0]} must not stand in a file: put its environment variable in api_key_env"
            )
        return options

    def key(self) -> SecretStr | None:
        """The key from the environment; None when the entry names no variable.

        Raises:
            PoolError: The named variable is not set.
        """
        if self.api_key_env is None:
            return None
        if not (value := os.environ.get(self.api_key_env)):
            raise PoolError(f"model {self.name!r}: environment variable {self.api_key_env} is not set")
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
        arguments = {name: value for name, value in arguments.items() if value is not None}
        return build_chat_model(self.name, self.provider, arguments)


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
        import yaml

        path = Path(path)
        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise PoolError(f"{path}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise PoolError(f"{path}: is not UTF-8 text") from None
        except yaml.YAMLError as error:  # its own text quotes the file, which may hold a secret
            mark = getattr(error, "problem_mark", None)
            where = f"line {mark.line + 1}: " if mark else ""
            raise PoolError(
                f"{path}: {where}is not YAML: {getattr(error, 'problem', 'unreadable')}"
            ) from None
        entries = data.get("models") if isinstance(data, dict) else None
        if isinstance(entries, dict):
            if wrong := [name for name, entry in entries.items() if not isinstance(entry or {}, dict)]:
                raise PoolError(f"{path}: model {wrong[0]!r}: must be a mapping of fields")
            entries = [{"name": str(name), **(entry or {})} for name, entry in entries.items()]
        if not isinstance(entries, list) or not entries:
            raise PoolError(f"{path}: needs a non-empty `models:` (a mapping by name, or a list with `name`)")
        specs = []
        for number, entry in enumerate(entries, 1):
            name = entry.get("name", f"entry {number}") if isinstance(entry, dict) else f"entry {number}"
            try:
                specs.append(ModelSpec.model_validate(entry))
            except ValidationError as error:
                first = error.errors(include_input=False)[0]  # the input may be a key someone put there
                field = ".".join(map(str, first["loc"]))
                raise PoolError(f"{path}: model {name!r}: {field}: {first['msg']}") from None
        try:
            return cls(specs)
        except PoolError as error:
            raise PoolError(f"{path}: {error}") from None

    @cached_property
    def models(self) -> dict[str, BaseChatModel]:
        """The chat models by name, built at first use."""
        return {name: spec.build() for name, spec in self._specs.items()}

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
