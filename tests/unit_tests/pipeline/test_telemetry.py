"""Spans and histograms, as OpenTelemetry's in-memory exporters get them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langgraph.types import RetryPolicy

from langchain_avengers import ChatAvengers
from langchain_avengers.errors import SamplingError
from langchain_avengers.pipeline import telemetry
from tests.fakes import FakeRouter, ManyFake, StatusError, StreamingFake, says

pytest.importorskip("opentelemetry.sdk", reason="needs the extra: otel")

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

SUM = "What is 7 + 5?"


class Recorded:
    def __init__(self) -> None:
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        tracers = TracerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        telemetry.instrument(tracer_provider=tracers, meter_provider=MeterProvider([self.reader]))

    @property
    def spans(self) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        for span in self.exporter.get_finished_spans():
            found.setdefault(span.name, []).append(span)
        return found

    def points(self, name: str) -> list[Any]:
        (resource,) = self.reader.get_metrics_data().resource_metrics  # type: ignore[union-attr]
        (scope,) = resource.scope_metrics
        (metric,) = [metric for metric in scope.metrics if metric.name == name]
        return list(metric.data.data_points)


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    yield Recorded()
    telemetry.uninstrument()


def pool(*models: Any, **settings: Any) -> ChatAvengers:
    quick = RetryPolicy(initial_interval=0.001, max_attempts=2, retry_on=StatusError)
    settings = {"n_samples": 3, "retry_policy": quick, **settings}
    return ChatAvengers(
        router=FakeRouter(), models=dict(zip(("sums", "places"), models, strict=True)), **settings
    )


@pytest.mark.parametrize("style", ["invoke", "ainvoke", "stream", "astream"])
async def test_a_span_a_query_and_one_an_attempt(recorded: Recorded, style: str) -> None:
    model = pool(ManyFake(script=[StatusError(503), "Answer: 12", "Answer: 12"]), says("x"))
    if style == "invoke":
        model.invoke(SUM)
    elif style == "ainvoke":
        await model.ainvoke(SUM)
    elif style == "stream":
        list(model.stream(SUM))
    else:
        _ = [chunk async for chunk in model.astream(SUM)]
    (query,) = recorded.spans["chat avengers"]
    failed, passed = recorded.spans["chat sums"]
    assert failed.parent.span_id == passed.parent.span_id == query.context.span_id
    assert dict(query.attributes) | {"avengers.confidence": 1.0} == {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "avengers", "gen_ai.request.model": "avengers",
        "gen_ai.request.choice.count": 3, "gen_ai.response.model": "sums", "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 15, "avengers.strategy": "self_consistency", "avengers.confidence": 1.0,
    }  # fmt: skip
    assert failed.attributes["error.type"] == "StatusError"
    assert not failed.status.is_ok
    assert passed.attributes["gen_ai.request.choice.count"] == 3
    assert passed.attributes["gen_ai.usage.output_tokens"] == 15
    tokens = {p.attributes["gen_ai.token.type"]: p.sum for p in recorded.points("gen_ai.client.token.usage")}
    assert tokens == {"input": 10, "output": 15}
    assert sum(p.count for p in recorded.points("gen_ai.client.operation.duration")) == 2


async def test_a_streamed_sample_and_a_stand_in(recorded: Recorded) -> None:
    model = pool(StreamingFake(script=[StatusError(401)]), StreamingFake(script=["a b"]), strategy="direct")
    _ = [chunk async for chunk in model.astream(SUM)]
    assert len(recorded.spans["chat places"]) == 1
    assert recorded.spans["chat avengers"][0].attributes["gen_ai.response.model"] == "places"


def test_a_query_that_fails(recorded: Recorded) -> None:
    with pytest.raises(SamplingError):
        pool(says(StatusError(401, "key sk-secret12345")), says(StatusError(401))).invoke(SUM)
    (query,) = recorded.spans["chat avengers"]
    assert query.attributes["error.type"] == "SamplingError"
    assert "sk-secret" not in str([s.to_json() for spans in recorded.spans.values() for s in spans])


def test_nothing_is_recorded_unless_asked() -> None:
    assert telemetry.active() is None
