"""The pool behind the server: the router's folder watched, members built for serving, models found by name."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_avengers.errors import AvengersError
from langchain_avengers.pipeline.chat_model import ChatAvengers
from langchain_avengers.pipeline.settings import STRATEGIES
from langchain_avengers.pool import ModelSpec, Pool
from langchain_avengers.providers import describe
from langchain_avengers.serving.protocol import ApiError

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

NAME = "avengers"
"""The pool's own name among the models."""

_log = logging.getLogger(__name__)


@dataclass
class Engine:
    """A router and its pool, replaced whole when the router's folder changes.

    Attributes:
        folder: The saved router.
        pool: The members, and any further model that `options` names.
        options: Fields of `Settings`. `judge`, `escalate_to`, `aggregator` and `test_writer` may name any
            model of the pool.
        embeddings: The router's embedding model; None: the one that its artefact names.
    """

    folder: Path
    pool: Pool
    options: Mapping[str, Any] = field(default_factory=dict)
    embeddings: Embeddings | None = None

    def __post_init__(self) -> None:
        """Load the router.

        Raises:
            AvengersError: The router cannot be read, or the pool lacks one of its models.
        """
        self._members = Pool([_for_serving(spec) for spec in self.pool.values()])
        self._state = self._look()
        self.model = self._load()

    def _load(self) -> ChatAvengers:
        from langchain_avengers.routing.router import ClusterRouter

        router = ClusterRouter.load(self.folder, embeddings=self.embeddings)
        return ChatAvengers(router=router, models=self._members, sticky=True, **self.options)

    def _look(self) -> tuple[tuple[str, int, int], ...]:
        """What tells one state of the router's folder from another."""
        found = []
        for path in sorted(self.folder.glob("*")):
            try:
                stat = path.stat()
            except FileNotFoundError:  # replaced while we look
                continue
            found.append((path.name, stat.st_mtime_ns, stat.st_ino))
        return tuple(found)

    async def reload(self) -> str | None:
        """Load the router again when its folder has changed; a bad one is refused, and the old one serves on.

        Returns:
            `"loaded"`, `"refused"`, or None when nothing has changed.
        """
        state = await asyncio.to_thread(self._look)
        if state == self._state or not state:
            return None
        self._state = state
        try:
            model = await asyncio.to_thread(self._load)
        except (AvengersError, OSError, ValueError) as error:
            _log.error("the router's folder changed, and the new router is refused: %s", describe(error))
            return "refused"
        self.model = model
        _log.info("the router's folder changed, and the new router serves: %s", self.fingerprint)
        return "loaded"

    @property
    def fingerprint(self) -> str:
        """Names the router that serves."""
        return str(getattr(self.model.router, "fingerprint_", ""))

    @property
    def members(self) -> list[str]:
        """Names of the members."""
        return list(self.model.models)

    def names(self) -> list[str]:
        """Every name that a request's `model` may have."""
        needs = {"escalate": self.model.escalate_to, "learned": getattr(self.model.router, "policy_", None)}
        strategies = [name for name in STRATEGIES if needs.get(name, True) is not None]
        return [NAME, *(f"{NAME}:{name}" for name in strategies), *self.members]

    def controls(self, name: str) -> dict[str, Any]:
        """What a model's name says of how to answer.

        Raises:
            ApiError: 404: there is no such model.
        """
        if name == NAME:
            return {}
        if name in self.members:
            return {"strategy": "direct", "allowed_models": [name]}
        if name in self.names():
            return {"strategy": name.removeprefix(f"{NAME}:")}
        raise ApiError(
            404, f"there is no model {name[:100]!r}; see /v1/models", code="model_not_found", param="model"
        )


def _for_serving(spec: ModelSpec) -> ModelSpec:
    """A member whose requests are all counted: it does not retry by itself, and its streams tell their usage."""
    if spec.provider != "openai":
        return spec
    return spec.model_copy(update={"options": {"max_retries": 0, "stream_usage": True, **spec.options}})
