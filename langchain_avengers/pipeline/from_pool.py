"""From a pool file to a pool that answers: its models, with their prices and limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.rate_limiters import InMemoryRateLimiter

from langchain_avengers.pipeline.health import logger
from langchain_avengers.pipeline.settings import Models, Router
from langchain_avengers.pool import ModelSpec, Pool

HELPERS = ("judge", "escalate_to", "aggregator", "test_writer")


def unpacked(
    router: Router | None, models: Models | Pool, options: Mapping[str, Any]
) -> tuple[Models, dict[str, Any]]:
    """The models of a pool file, and the options with what the file says of prices, `n` and rates.

    What the caller set himself wins. Entries that the router does not know may be named as `judge`, `escalate_to`,
    `aggregator` or `test_writer`. Models that are no pool file are returned as they are.
    """
    options = dict(options)
    if isinstance(options.get("metadata"), str):  # elsewhere the name of LangChain's own field
        options["answer_metadata"] = options.pop("metadata")
    if not isinstance(models, Pool) or router is None:
        return models, options
    members = {name: _built(spec) for name, spec in models.items() if name in router.models_}
    prices = {name: spec.price for name, spec in models.items() if spec.price and name in members}
    asked = [options[role] for role in HELPERS if isinstance(options.get(role), str)]
    for role in HELPERS:
        name = options.get(role)
        if isinstance(name, str) and name in models and name not in members:
            options[role] = helper = _built(models[name])
            own = getattr(helper, "model_name", None)  # the account knows it by its provider's name
            if (price := models[name].price) and isinstance(own, str):
                prices.setdefault(own, price)
    if idle := [name for name in models if name not in members and name not in asked]:
        logger.info("the router does not know %s: not asked", ", ".join(idle))
    takes_n = {
        name: "n" in spec.capabilities
        for name, spec in models.items()
        if name in members and {"n", "no-n"} & set(spec.capabilities)
    }
    options["prices"] = {**prices, **(options.get("prices") or {})}
    options["sample_in_one_request"] = {**takes_n, **(options.get("sample_in_one_request") or {})}
    return members, options


def _built(spec: ModelSpec) -> Any:
    model = spec.build()
    if spec.requests_per_minute is None:
        return model
    rate = spec.requests_per_minute / 60
    limiter = InMemoryRateLimiter(
        requests_per_second=rate, check_every_n_seconds=min(0.1, 1 / rate), max_bucket_size=max(1.0, rate)
    )
    return model.model_copy(update={"rate_limiter": limiter})
