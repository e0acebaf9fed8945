"""Clients' keys: read hashed, compared in constant time, each with its own models, rate and budget."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from langchain_avengers.errors import PoolError
from langchain_avengers.serving.protocol import ApiError

VARIABLE = "AVENGERS_SERVE_KEY"
"""Holds one key, or several with commas between them, without limits."""


class ClientKey(BaseModel):
    """A key that clients may use.

    Attributes:
        name: The key's name in logs, metrics and the store.
        sha256: SHA-256 of the key, in hexadecimal digits.
        models: What it may ask for: names as in `/v1/models`. None: everything.
        requests_per_minute: None for no bound.
        dollars_per_day: Of members' cost, by UTC days. None for no bound.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=100)
    sha256: str = Field(pattern=r"^[0-9a-fA-F]{64}$")
    models: tuple[str, ...] | None = None
    requests_per_minute: float | None = Field(default=None, gt=0)
    dollars_per_day: float | None = Field(default=None, gt=0)


class KeyRing:
    """All keys of a server; an empty ring lets everyone in.

    Example:
        >>> ring = KeyRing([ClientKey(name="web", sha256=hashed("correct horse"))])
        >>> ring.authenticate("Bearer correct horse").name
        'web'
    """

    def __init__(self, keys: Sequence[ClientKey]) -> None:
        """Take the keys."""
        self.keys = tuple(keys)
        self._digests = [bytes.fromhex(key.sha256) for key in self.keys]

    def __bool__(self) -> bool:
        """Whether a key is needed."""
        return bool(self.keys)

    @classmethod
    def read(cls, path: Path | None) -> KeyRing:
        """Read a keys file (YAML: `keys:`, a list of `ClientKey`s) and the variable `AVENGERS_SERVE_KEY`.

        Raises:
            PoolError: The file is not what it should be.
        """
        keys = [] if path is None else _from_file(path)
        given = [key for key in os.environ.get(VARIABLE, "").split(",") if key.strip()]
        keys += [
            ClientKey(name=f"environment-{number}", sha256=hashed(key.strip()))
            for number, key in enumerate(given, 1)
        ]
        return cls(keys)

    def authenticate(self, authorization: str | None) -> ClientKey | None:
        """The key of an `Authorization` header; None when no key is needed.

        Every known key is compared, each in constant time, so that the time tells nothing of how near a guess was.

        Raises:
            ApiError: 401: there is no key, or a wrong one.
        """
        if not self.keys:
            return None
        scheme, _, key = (authorization or "").partition(" ")
        presented = hashlib.sha256(key.strip().encode("utf-8", "surrogateescape")).digest()
        found = None
        for known, digest in zip(self.keys, self._digests, strict=True):
            if hmac.compare_digest(presented, digest):
                found = known
        if found is None or scheme.lower() != "bearer":
            raise ApiError(
                401,
                "a valid key is needed: Authorization: Bearer KEY",
                code="invalid_api_key",
            )
        return found


def hashed(key: str) -> str:
    """The SHA-256 of a key in hexadecimal digits, as a keys file holds it."""
    return hashlib.sha256(key.encode()).hexdigest()


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _from_file(path: Path) -> list[ClientKey]:
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        entries = data["keys"] if isinstance(data, dict) else None
        if not isinstance(entries, list) or not entries:
            raise KeyError
        keys = [ClientKey.model_validate(entry) for entry in entries]
    except OSError as error:
        raise PoolError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, yaml.YAMLError):  # its own text quotes the file, which holds what is secret
        raise PoolError(f"{path}: is not YAML in UTF-8") from None
    except KeyError:
        raise PoolError(f"{path}: needs `keys:`, a list of entries with name and sha256") from None
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise PoolError(f"{path}: {where}: {first['msg']}") from None
    if len({key.name for key in keys}) < len(keys):
        raise PoolError(f"{path}: two keys have one name")
    return keys
