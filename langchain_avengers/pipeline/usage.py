"""What a query used and cost: every request counts, failed and unused ones too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from langchain_core.messages import AIMessage
from langchain_core.messages.ai import UsageMetadata, add_usage
from langchain_core.outputs import ChatGeneration, LLMResult

from langchain_avengers.pipeline.state import Account, CallRecord, ModelAccount
from langchain_avengers.providers import TokenPrice, token_cost

Prices = Mapping[str, TokenPrice]


def usage_of_request(result: LLMResult) -> UsageMetadata | None:
    """What one request used; None when the provider does not tell.

    Providers that take `n` report the whole request's usage, and set it on every choice: it is counted once.
    """
    messages = [g.message for g in result.generations[0] if isinstance(g, ChatGeneration)]
    usages = [m.usage_metadata for m in messages if isinstance(m, AIMessage) and m.usage_metadata]
    if usages and all(usage == usages[0] for usage in usages):
        usages = usages[:1]
    total: UsageMetadata | None = None
    for usage in usages:
        total = add_usage(total, tokens_of(usage))
    return total


def tokens_of(usage: Mapping[str, Any]) -> UsageMetadata:
    """Usage in what `add_usage` can add: numbers of tokens, no dollars."""
    return cast(UsageMetadata, {k: v for k, v in usage.items() if not isinstance(v, float)})


def dollars_of(usage: UsageMetadata, price: TokenPrice) -> tuple[float, float]:
    """US dollars of a request's input and of its output."""
    cached = (usage.get("input_token_details") or {}).get("cache_read") or 0
    return token_cost(price, usage["input_tokens"], usage["output_tokens"], cached)


def cost_of(
    call: CallRecord, prices: Prices | None, calibrated: Mapping[str, float | None]
) -> tuple[float | None, bool]:
    """US dollars of one request, and whether that is an estimate.

    Args:
        call: The request.
        prices: US dollars per million (input, output) tokens, by model.
        calibrated: US dollars per answer in calibration, by model.
    """
    usage = call["usage"]
    if usage and (told := cast(Mapping[str, Any], usage).get("total_cost")) is not None:
        return float(told), False
    price = (prices or {}).get(call["model"])
    if price is not None:
        if usage:
            return sum(dollars_of(usage, price)), False
        if not call["drawn"]:
            return 0.0, True  # a request that failed without saying what it used
    answer = calibrated.get(call["model"])
    return (None if answer is None else answer * call["drawn"]), True


def account(
    calls: Iterable[CallRecord],
    *,
    prices: Prices | None = None,
    calibrated: Mapping[str, float | None] | None = None,
) -> Account:
    """The sum over all requests of a query, in plain data.

    Returns:
        `requests`, `failed_requests` and `unreported_requests` (whose usage the provider did not tell),
        `usage`, `cost` in US dollars (None when it is known of no request), `cost_is_estimate`,
        `cost_unknown` (models of whose requests no cost is known), and `models` with requests, usage and
        cost of each.
    """
    models: dict[str, ModelAccount] = {}
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
            line["usage"] = add_usage(line["usage"], tokens_of(call["usage"]))
        dollars, estimated = cost_of(call, prices, calibrated or {})
        if dollars is None:
            if call["model"] not in unknown:
                unknown.append(call["model"])
            continue
        estimate = estimate or estimated
        cost = dollars + (cost or 0.0)
        line["cost"] = dollars + (line["cost"] or 0.0)
    for line in models.values():
        total = add_usage(total, line["usage"])
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
