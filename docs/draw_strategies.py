"""The page that shows every strategy, each drawn from its own graph."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from langchain_core.language_models import FakeListChatModel

from langchain_avengers.pipeline.graph import create_avengers_graph
from langchain_avengers.pipeline.settings import Strategy

_HEAD = """# Strategies

All strategies are edges of one graph. A query is embedded and routed; `sample` runs once for every model
that was sent to, beside each other; `vote` elects an answer or leads back to `sample`. When a model fails
altogether, the next of the ranking stands in for it, whatever the strategy. With `min_samples` every
strategy samples in rounds and stops when further samples would not change the vote.

The pictures are drawn from the graphs: `python docs/draw_strategies.py > docs/strategies.md`.
"""

_PAGES: dict[str, tuple[str, dict[str, Any]]] = {
    "learned": (
        "What calibration taught: the models are asked in the order of their use for the query, in rounds, each vote "
        "weighs what it adds to the others, and nothing more is asked when the leading answer is sure enough. The "
        "default of a router that was fitted on recorded answers and has learned a vote. `cost_weight` and `budget` "
        "make it ask less. Where no vote was shown to beat the best single model, it asks that model alone.",
        {},
    ),
    "direct": (
        "One sample of the best model for the query, streamed token by token as the model gives it. The cheapest; "
        "what routing alone is worth.",
        {},
    ),
    "self_consistency": (
        "`n_samples` of the best model, and a vote on the answers extracted from them. The default of a router "
        "without a learned vote. Shown with `min_samples`, which makes it sample in rounds.",
        {"min_samples": 3},
    ),
    "mixture": (
        "`n_samples` spread over the `top_n` best models (at least two), each vote weighted by the log-odds of its "
        "model's expected score on such queries. Pays where models are about equally good; where one leads, "
        "`self_consistency` does better.",
        {"top_n": 2},
    ),
    "model_switch": (
        "`n_samples` of the best model. If its answers agree (`confidence_threshold`, 0.8) they stand, and no other "
        "model is called. If not, `n_samples` of the second model join the vote. After Model-Switch "
        "(arXiv 2504.00762).",
        {},
    ),
    "escalate": (
        "`n_samples` of the best model. Where the vote's confidence is below `confidence_threshold`, the model named "
        "by `escalate_to` is asked once, and its answer stands. If it fails, the vote stands and the failure is told.",
        {"escalate_to": FakeListChatModel(responses=[""])},
    ),
    "aggregate": (
        "`n_samples` of the best model (or spread over `top_n`); a model reads them all and writes the final answer: "
        "`aggregator`, or the best model itself. If it fails, the vote stands and the failure is told.",
        {},
    ),
}

_TAIL = """## How samples are drawn

The `n` samples of a model go in one request where its provider takes `n`, so that the prompt is paid once. A model is
tried so when its class has a field `n`: `ChatOpenAI` and everything built on it (`AzureChatOpenAI`, xAI, DeepSeek, any
OpenAI-compatible server), `ChatGoogleGenerativeAI`. A server that ignores `n` is topped up with further requests; one
that refuses it is remembered, and asked once a sample from then on. Models without such a field (`ChatAnthropic`,
`ChatOllama`, ...) get concurrent requests, at most `max_concurrency` of them. `sample_in_one_request={"name": False}`
decides it for a model.

A request that fails in a way that may pass (no answer in `timeout` seconds, 408, 409, 425, 429, 5xx, an answer that
cannot be read) is made again `max_retries` times, not before a `Retry-After` the server sent. Give members
`max_retries=0`: retries inside a provider's client are not seen here, and do not come into the account.

A sample that failed for good is told in `response_metadata["avengers"]["failures"]`, and the vote goes on without it.
Only when no model gave any does the call raise: a `SamplingError` with every cause, and what was spent as its
`account`.

## When sampling stops early

With `min_samples` the samples come in rounds, and no further one is drawn when the leading answer will win anyhow. The
test is set so that the decision of the full vote is kept in 99 % of cases or more, whether the samples agree to 40 %
or to 95 %, and against one strong rival as against many weak ones. At agreement 0.9 it saves

| samples | 5 | 10 | 20 | 40 |
|---|---|---|---|---|
| saved | 34 % | 51 % | 66 % | 76 % |

Of 5 samples no rule saves more than 37 % without keeping fewer decisions: `most_saved` in `benchmarks/voting.py` finds
that bound exactly, by a linear program over all patterns of answers. The obvious rule, to stop when the first two
agree, saves 52 % there, but keeps only 94 % of the decisions where the answers agree to 60 %. So `min_samples` pays
from about 10 samples on.
"""


def strategies_page() -> str:
    """The page, as Markdown with a Mermaid picture of each strategy."""
    parts = [_HEAD]
    router: Any = SimpleNamespace(models_=["first", "second"], policy_=object())
    models = {name: FakeListChatModel(responses=[""]) for name in router.models_}
    for strategy, (text, options) in _PAGES.items():
        graph = create_avengers_graph(router, models, strategy=cast(Strategy, strategy), **options)
        picture = graph.get_graph().draw_mermaid(with_styles=False)
        parts.append(f"## `{strategy}`\n\n{text}\n\n```mermaid\n{picture.strip()}\n```\n")
    return "\n".join([*parts, _TAIL])


if __name__ == "__main__":
    print(strategies_page(), end="")
