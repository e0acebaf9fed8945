"""The models of a calibration, in every form in which they are given."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from langchain_avengers.errors import PoolError
from langchain_avengers.pool import ModelSpec, Pool, Price
from langchain_avengers.providers import chat_model

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

Models: TypeAlias = "Pool | Mapping[str, BaseChatModel | str] | str | os.PathLike[str]"
"""A `Pool`, the path of a pool file, or chat models (or `init_chat_model` strings) by name."""

PoolModels: TypeAlias = "dict[str, tuple[ModelSpec, BaseChatModel]]"
"""Each model's entry, with its chat model."""


def resolve_models(
    models: Models, prices: Mapping[str, Price] | None = None, max_concurrency: int | None = None
) -> PoolModels:
    """Every form in which models are given, as entries with their chat models.

    Raises:
        PoolError: A model cannot be made.
    """
    if isinstance(models, str | os.PathLike):
        models = Pool.read(models)
    if isinstance(models, Pool):
        return {name: (models[name], model) for name, model in models.models.items()}
    if not models:
        raise PoolError("no models were given")
    return {
        name: _given(name, chat_model(name, model), (prices or {}).get(name), max_concurrency)
        for name, model in models.items()
    }


def resolve_judge(
    judge: str | BaseChatModel | None, pool: PoolModels
) -> tuple[ModelSpec, BaseChatModel] | None:
    """The judge: a name of the pool, or a chat model.

    Raises:
        PoolError: The pool has no model of that name.
    """
    if judge is None:
        return None
    if isinstance(judge, str):
        if judge not in pool:
            raise PoolError(f"the judge {judge!r} is not in the pool; it has {', '.join(pool)}")
        return pool[judge]
    name = getattr(judge, "model_name", None) or getattr(judge, "model", None) or type(judge).__name__
    return _given(f"judge:{name}", chat_model("judge", judge), None, None)


def _given(
    name: str, model: BaseChatModel, price: Price | None, max_concurrency: int | None
) -> tuple[ModelSpec, BaseChatModel]:
    longest = getattr(model, "max_tokens", None)
    spec = ModelSpec(name=name, price=price, max_concurrency=max_concurrency or 8, max_tokens=longest)
    return spec, model
