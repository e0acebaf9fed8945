"""What a query cost: every request counts, failed and unused ones too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from langchain_core.messages.ai import UsageMetadata, add_usage

from langchain_avengers.pipeline.tracing import counted
from langchain_avengers.providers import token_cost

Prices = Mapping[str, tuple[float, float]]


def cost_of(
    call: Mapping[str, Any], prices: Prices | None, calibrated: Mapping[str, float | None]
) -> tuple[float | None, bool]:
    """US dollars of one request, and whether that is an estimate.

    Args:
        call: A request out of a `Draw`.
        prices: US dollars per million (input, output) tokens, by model.
        calibrated: US dollars per answer in calibration, by model.
    """
    usage = call["usage"]
    if usage and usage.get("total_cost") is not None:
        return float(usage["total_cost"]), False
    price = (prices or {}).get(call["model"])
    if price is not None:
        if usage:
            return sum(token_cost(price, usage["input_tokens"], usage["output_tokens"])), False
        if not call["drawn"]:
            return 0.0, True  # a request that failed without saying what it used
    answer = calibrated.get(call["model"])
    return (None if answer is None else answer * call["drawn"]), True


def account(
    calls: Iterable[Mapping[str, Any]],
    *,
    prices: Prices | None = None,
    calibrated: Mapping[str, float | None] | None = None,
) -> dict[str, Any]:
    """The sum over all requests of a query, in plain data.

    Returns:
        `requests`, `failed_requests` and `unreported_requests` (whose usage the provider did not tell),
        `usage`, `cost` in US dollars (None when it is known of no request), `cost_is_estimate`,
        `cost_unknown` (models of whose requests no cost is known), and `models` with requests, usage and
        cost of each.
    """
    models: dict[str, dict[str, Any]] = {}
    total: UsageMetadata | None = None
    cost: float | None = None
    failed = unreported = requests = 0
    estimate = False
    unknown: list[str] = []
    for call in calls:
        requests += 1
        failed += call["error"] is not None
        unreported += call["usage"] is None
        line = models.setdefault(call["model"], {"requests": 0, "usage": None, "cost": None})
        line["requests"] += 1
        if call["usage"]:
            usage = counted(call["usage"])
            total = add_usage(total, usage)
            line["usage"] = add_usage(line["usage"], usage)
        dollars, estimated = cost_of(call, prices, calibrated or {})
        if dollars is None:
            if call["model"] not in unknown:
                unknown.append(call["model"])
            continue
        estimate = estimate or estimated
        cost = dollars + (cost or 0.0)
        line["cost"] = dollars + (line["cost"] or 0.0)
    return {
        "requests": requests,
        "failed_requests": failed,
        "unreported_requests": unreported,
        "usage": total,
        "cost": cost,
        "cost_is_estimate": estimate,
        "cost_unknown": unknown,
        "models": models,
    }
