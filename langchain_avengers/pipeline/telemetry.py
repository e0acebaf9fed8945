"""OpenTelemetry spans and histograms, by the GenAI semantic conventions. Needs the extra `otel`.

`instrument()` once, at the start of an application. A query is one span of operation `chat`; each attempt at a request
to a model is a child of it, with its model, choices, tokens and error. No prompt and no answer is recorded.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_core.messages.ai import UsageMetadata
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider

    from langchain_avengers.pipeline.state import PipelineState

POOL = "avengers"


class Telemetry:
    """What is recorded, and where it goes."""

    def __init__(self, tracer_provider: TracerProvider | None, meter_provider: MeterProvider | None) -> None:
        """Make the instruments; None: OpenTelemetry's global providers."""
        try:
            from opentelemetry import metrics, trace
        except ImportError as error:
            raise ImportError(
                "OpenTelemetry is not installed: pip install 'langchain-avengers[otel]'"
            ) from error
        self.tracer = trace.get_tracer("langchain_avengers", tracer_provider=tracer_provider)
        meter = metrics.get_meter("langchain_avengers", meter_provider=meter_provider)
        self.tokens = meter.create_histogram(
            "gen_ai.client.token.usage", unit="{token}", description="Tokens of a request"
        )
        self.duration = meter.create_histogram(
            "gen_ai.client.operation.duration", unit="s", description="Seconds of a request"
        )

    def query(self, strategy: str, n: int | None) -> QuerySpan:
        """Begin the span of a query."""
        return QuerySpan(self, strategy, n)


class QuerySpan:
    """The span of a query, from its messages to its answer."""

    def __init__(self, telemetry: Telemetry, strategy: str, n: int | None) -> None:
        """Begin now, under the current span."""
        from opentelemetry.trace import SpanKind

        self.telemetry = telemetry
        attributes: dict[str, Any] = {**_attributes(POOL, POOL), "avengers.strategy": strategy}
        if n is not None:
            attributes["gen_ai.request.choice.count"] = n
        self.span: Span = telemetry.tracer.start_span(
            f"chat {POOL}", kind=SpanKind.INTERNAL, attributes=attributes
        )

    def answered(self, state: PipelineState) -> None:
        """End with what the answer says of itself."""
        answer, account = state["answer"], state["account"]
        assert answer is not None
        told = answer.response_metadata["avengers"]
        self.span.set_attribute("gen_ai.response.model", told["model"])
        self.span.set_attribute("avengers.confidence", told["vote"]["confidence"])
        _set_usage(self.span, account["usage"] if account else None)
        self.span.end()

    def failed(self, error: BaseException) -> None:
        """End with the kind of the error."""
        _set_error(self.span, type(error).__name__)
        self.span.end()


class AttemptSpan:
    """The span of one attempt at a request to a model."""

    def __init__(self, query: QuerySpan, model: str, provider: str, n: int) -> None:
        """Begin now, under the query's span."""
        from opentelemetry.trace import SpanKind, set_span_in_context

        self._telemetry = query.telemetry
        self._attributes = _attributes(model, provider)
        self._began = time.perf_counter()
        self._span = query.telemetry.tracer.start_span(
            f"chat {model}",
            context=set_span_in_context(query.span),
            kind=SpanKind.CLIENT,
            attributes={**self._attributes, "gen_ai.request.choice.count": n},
        )

    def ended(self, usage: UsageMetadata | None, error: str | None) -> None:
        """End with what was used, or the kind of the error."""
        labels = dict(self._attributes)
        if error is not None:
            labels["error.type"] = error.partition(":")[0]
            _set_error(self._span, labels["error.type"])
        _set_usage(self._span, usage)
        for kind in ("input", "output") if usage else ():
            count: int = usage[f"{kind}_tokens"]  # type: ignore[index,literal-required]
            self._telemetry.tokens.record(count, {**self._attributes, "gen_ai.token.type": kind})
        self._telemetry.duration.record(time.perf_counter() - self._began, labels)
        self._span.end()


_active: Telemetry | None = None


def instrument(
    *, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
) -> None:
    """Record the queries of every `ChatAvengers` from now on.

    Args:
        tracer_provider: Where spans go; None: OpenTelemetry's global provider.
        meter_provider: Where histograms go; None: the global one.

    Raises:
        ImportError: The extra `otel` is not installed.
    """
    global _active
    _active = Telemetry(tracer_provider, meter_provider)


def uninstrument() -> None:
    """Record nothing from now on."""
    global _active
    _active = None


def active() -> Telemetry | None:
    """What records, if anything does."""
    return _active


def _attributes(model: str, provider: str) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": provider,
        "gen_ai.request.model": model,
    }


def _set_usage(span: Span, usage: UsageMetadata | None) -> None:
    if usage is not None:
        span.set_attribute("gen_ai.usage.input_tokens", usage["input_tokens"])
        span.set_attribute("gen_ai.usage.output_tokens", usage["output_tokens"])


def _set_error(span: Span, kind: str) -> None:
    from opentelemetry.trace import Status, StatusCode

    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))
