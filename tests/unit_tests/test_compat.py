"""The hooks into other libraries: each test fails when the library no longer offers what `_compat` takes hold of."""

from __future__ import annotations

import uuid
from typing import Any

from langchain_core.callbacks import UsageMetadataCallbackHandler, get_usage_metadata_callback
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.runnables import RunnableBinding
from langchain_core.tracers import BaseTracer, LangChainTracer
from langchain_core.tracers.event_stream import _AstreamEventsCallbackHandler
from langchain_core.tracers.schemas import Run
from pydantic import BaseModel

from langchain_avengers import _compat
from tests.fakes import FakeModel, says


class Sum(BaseModel):
    """A sum."""

    total: int


def test_the_bound_model_of_a_structured_output() -> None:
    model = says("x")
    step = _compat.raw_step(model.with_structured_output(Sum, include_raw=True))
    assert isinstance(step, RunnableBinding)
    assert step.bound is model
    assert step.kwargs["tools"][0]["function"]["name"] == "Sum"


def test_event_streams_are_no_tracers() -> None:
    assert _compat.is_tracer(LangChainTracer(client=Silent()))
    assert not _compat.is_tracer(_AstreamEventsCallbackHandler())
    assert not _compat.is_tracer(UsageMetadataCallbackHandler())


def test_counters_of_the_context_are_found() -> None:
    assert _compat.usage_counters() == ()
    with get_usage_metadata_callback() as counter:
        (found,) = _compat.usage_counters()
        assert found.get() is counter


class Silent:
    """A LangSmith client that keeps what it is sent."""

    def __init__(self) -> None:
        self.sent: dict[str, Any] = {}

    def create_run(self, **kwargs: Any) -> None: ...

    def update_run(self, *args: Any, **kwargs: Any) -> None:
        self.sent = kwargs


USAGE = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}


def finish(usage: dict[str, int] | None) -> dict[str, Any]:
    """What LangSmith is sent of a run of two choices when its usage was set to this."""
    client, run_id = Silent(), uuid.uuid4()
    tracer = LangChainTracer(client=client)  # type: ignore[arg-type]
    tracer.on_chat_model_start({"name": "m"}, [[]], run_id=run_id)
    (run,) = _compat.open_runs([tracer], run_id)
    _compat.set_usage(run, usage)
    choices = [ChatGeneration(message=AIMessage("a", usage_metadata=USAGE)) for _ in range(2)]  # type: ignore[arg-type]
    tracer.on_llm_end(LLMResult(generations=[choices]), run_id=run_id)
    return client.sent


def test_the_usage_of_a_run_is_what_was_set() -> None:
    sent = finish(USAGE)
    assert sent["extra"]["metadata"]["usage_metadata"] == USAGE
    assert "usage_metadata" not in str(sent["outputs"])
    sent = finish(None)
    assert "usage_metadata" not in sent["extra"]["metadata"]
    assert "usage_metadata" not in str(sent["outputs"])


class Collecting(BaseTracer):
    def _persist_run(self, run: Run) -> None: ...


def test_runs_of_another_tracer_are_left_alone() -> None:
    class Other(Run):
        pass

    run = Other(id=uuid.uuid4(), name="x", run_type="llm", inputs={})
    _compat.set_usage(run, None)
    assert type(run) is Other
    assert list(_compat.open_runs([Collecting()], uuid.uuid4())) == []


async def test_retries_of_openai_models_are_off_on_a_copy_alone() -> None:
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model="m", base_url="http://127.0.0.1:1/v1", api_key="k", max_retries=3)  # type: ignore[arg-type]
    copied = _compat.without_own_retries(model.bind(stop=["x"]))
    assert copied.kwargs == {"stop": ["x"]}
    inner = copied.bound
    for client in (
        inner.client._client,
        inner.async_client._client,
        inner.root_client,
        inner.root_async_client,
    ):
        assert client.max_retries == 0
    assert inner.max_retries == 0
    assert model.max_retries == model.root_client.max_retries == 3
    assert _compat.without_own_retries(inner).root_async_client._client is inner.root_async_client._client
    assert _compat.without_own_retries("other") == "other"


def test_clients_built_at_first_use_are_built_anew() -> None:
    from functools import cached_property

    class Lazy(FakeModel):
        max_retries: int = 2

        @cached_property
        def client(self) -> str:
            return f"retries {self.max_retries}"

    model = Lazy()
    assert model.client == "retries 2"
    assert _compat.without_own_retries(model).client == "retries 0"
    assert model.client == "retries 2"
