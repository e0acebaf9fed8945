"""What tests use in place of real parts: embedders, routers and chat models. Nothing here opens a connection.

- embedders: `HashEmbeddings` (texts that share words are near), and `hash_vector` behind it;
- routers: `FakeRouter` (a rule), `ScriptedRouter` (a list of choices), `toy_router` (a real one, on `toy_table`);
- chat models: `FakeModel` (a script), `StreamingFake`, `ManyFake` (takes `n`), all of them by `says`.
"""

from __future__ import annotations

import asyncio
import random
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field, PrivateAttr

from langchain_avengers import ClusterRouter, ScoreTable
from langchain_avengers.routing.decision import ModelScore, RoutingDecision

Reply = str | AIMessage | Exception
USAGE = UsageMetadata(input_tokens=10, output_tokens=5, total_tokens=15)


# --- embedders ----------------------------------------------------------------------------------------------------


def hash_vector(text: str | Sequence[int], dimensions: int = 64) -> list[float]:
    """An embedding by hashed words: texts that share words are near each other. Length 1."""
    words = re.findall(r"\w+", text.lower()) if isinstance(text, str) else [str(token) for token in text]
    vector = [0.0] * dimensions
    for word in words:
        seed = random.Random(word)
        for _ in range(4):
            vector[seed.randrange(dimensions)] += seed.choice((-1.0, 1.0))
    norm = sum(x * x for x in vector) ** 0.5
    return [x / norm for x in vector] if norm else [1.0] + [0.0] * (dimensions - 1)


class HashEmbeddings(Embeddings):
    """Texts that share words are near each other; `texts` is what was embedded."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.texts += texts
        return [hash_vector(text) for text in texts]


# --- chat models --------------------------------------------------------------------------------------------------


class FakeModel(BaseChatModel):
    """Answers from a script, over and over: a text, a message, or an error to raise."""

    model_name: str = "fake"
    script: list[Any] = Field(default=["Answer: 12"])
    delay: float = 0.0
    usage: Any = USAGE
    temperature: float | None = None

    _calls: list[dict[str, Any]] = PrivateAttr(default_factory=list)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    @property
    def calls(self) -> list[dict[str, Any]]:
        """What it was called with."""
        return self._calls

    @property
    def _llm_type(self) -> str:
        return "fake"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model_name, "script": [str(r) for r in self.script]}

    def bind_tools(
        self, tools: Sequence[Any], *, tool_choice: Any = None, **kwargs: Any
    ) -> Runnable[Any, AIMessage]:
        choice = {} if tool_choice is None else {"tool_choice": tool_choice}
        return self.bind(tools=[convert_to_openai_tool(t) for t in tools], **choice, **kwargs)

    def _next(self, messages: Sequence[BaseMessage], kwargs: dict[str, Any]) -> AIMessage:
        with self._lock:
            reply: Any = self.script[len(self._calls) % len(self.script)]
            self._calls.append({"messages": list(messages), **kwargs})
        if callable(reply):
            reply = reply(messages)
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, str):
            reply = AIMessage(reply)
        return reply.model_copy(
            update={
                "usage_metadata": reply.usage_metadata or self.usage,
                "response_metadata": {"model_name": self.model_name, **reply.response_metadata},
            }
        )

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        time.sleep(self.delay)
        message = self._next(messages, {"stop": stop, "sync": True, **kwargs})
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        if self.delay:
            await asyncio.sleep(self.delay)
        message = self._next(messages, {"stop": stop, "sync": False, **kwargs})
        return ChatResult(generations=[ChatGeneration(message=message)])


class StreamingFake(FakeModel):
    """Streams its answers word by word; `breaks_after` words an error comes."""

    breaks_after: int | None = None

    def _chunks(
        self, messages: Sequence[BaseMessage], kwargs: dict[str, Any]
    ) -> Iterator[ChatGenerationChunk]:
        message = self._next(messages, {"streamed": True, **kwargs})
        if message.tool_calls:
            yield ChatGenerationChunk(
                message=AIMessageChunk(content=message.content, tool_calls=message.tool_calls)
            )
            return
        for i, word in enumerate(message.text.split(" ")):
            if i == self.breaks_after:
                raise ConnectionError("cut off")
            yield ChatGenerationChunk(message=AIMessageChunk(content=word if i == 0 else " " + word))
        yield ChatGenerationChunk(
            message=AIMessageChunk(
                content="", usage_metadata=message.usage_metadata, response_metadata=message.response_metadata
            )
        )

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in self._chunks(messages, kwargs):
            if run_manager:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._chunks(messages, kwargs):
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk


class ManyFake(FakeModel):
    """Takes `n` in one request, as OpenAI's models do: every choice carries the whole request's usage."""

    n: int | None = None
    gives: int | None = None  # choices given whatever n was asked
    refuses: bool = False

    def _result(self, messages: Sequence[BaseMessage], stop: Any, kwargs: dict[str, Any]) -> ChatResult:
        n = kwargs.get("n") or self.n or 1
        if self.refuses and n > 1:
            self._calls.append({"messages": list(messages), "refused": True, **kwargs})
            raise StatusError(400, "n must be 1")
        first = self._next(messages, {"stop": stop, **kwargs})
        rest = []
        for i in range(1, self.gives or n):
            reply = self.script[i % len(self.script)]
            rest.append(first.model_copy(update={"content": reply}))
        usage = UsageMetadata(
            input_tokens=10, output_tokens=5 * (1 + len(rest)), total_tokens=15 + 5 * len(rest)
        )
        messages_ = [m.model_copy(update={"usage_metadata": usage}) for m in [first, *rest]]
        return ChatResult(generations=[ChatGeneration(message=m) for m in messages_])

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._result(messages, stop, kwargs)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._result(messages, stop, kwargs)


class StatusError(Exception):
    """An error as HTTP clients raise it."""

    def __init__(self, status: int, text: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(text or f"status {status}")
        self.status_code = status
        self.response = type("Response", (), {"status_code": status, "headers": headers or {}})()


def says(*texts: Any, **fields: Any) -> FakeModel:
    """A model with this script."""
    return FakeModel(script=list(texts), **fields)


def raiser(error: Exception) -> Callable[[Any], AIMessage]:
    """A reply that raises."""

    def reply(_: Any) -> AIMessage:
        raise error

    return reply


# --- routers ------------------------------------------------------------------------------------------------------

SUMS = [f"What is {a} + {b}?" for a in range(2, 8) for b in (3, 5, 8, 11)]
PLACES = [f"Which city is the {x} of {y}?" for x in ("capital", "port", "seat", "heart") for y in "ABCDEF"]


class FakeRouter:
    """Routes sums to the first model, everything else to the second; further models follow in order."""

    def __init__(self, *names: str, costs: dict[str, float] | None = None) -> None:
        self.models_ = list(names or ("sums", "places"))
        self.fingerprint_ = "f" * 8
        self.embeddings = None
        self.costs = costs or {}
        self.policy_: Any = None
        self.embedded: list[str] = []

    def embed(self, text: str) -> np.ndarray:
        self.embedded.append(text)
        return np.array([1.0, 0.0] if "+" in text else [0.0, 1.0], dtype=np.float32)

    async def aembed(self, text: str) -> np.ndarray:
        await asyncio.sleep(0)
        return self.embed(text)

    def route_vector(
        self,
        vector: np.ndarray,
        *,
        top_n: int = 1,
        models: Sequence[str] | None = None,
        cost_weight: float | None = None,
    ) -> RoutingDecision:
        topic = int(vector[1] > vector[0])
        names = list(self.models_)
        if topic and len(names) > 1:
            names[0], names[1] = names[1], names[0]
        if cost_weight:
            names.sort(key=lambda name: self.costs.get(name, 0.0))
        names = [name for name in names if models is None or name in models]
        ranking = tuple(
            ModelScore(n, 0.9 - 0.1 * i, 0.01, 10, self.costs.get(n)) for i, n in enumerate(names)
        )
        return RoutingDecision(tuple(names[:top_n]), ranking, ((topic, 1.0),), 0.1, False)


@dataclass
class ScriptedRouter:
    """A router whose every choice is written down, so that figures can be worked out by hand.

    Row i's vector is `[i]`; `choices[i]` is chosen there, and `cheap[i]` from `cost_weight` 0.5 on.
    """

    models_: list[str]
    choices: list[int]
    global_scores_: list[float]
    clusters: list[int]
    fitted_on: frozenset[str] = frozenset()
    cheap: list[int] = field(default_factory=list)

    scoring = "mean"
    cost_advice_ = None

    @property
    def cluster_costs_(self):
        return np.ones((self.n_clusters_, len(self.models_)))

    @property
    def task_scores_(self):
        return np.array([self.global_scores_])

    @property
    def n_clusters_(self):
        return max(self.clusters) + 1

    def choose(self, vectors, *, cost_weight=None, models=None):
        choices = self.cheap if (cost_weight or 0) >= 0.5 else self.choices
        return np.array(choices)[vectors[:, 0].astype(int)]

    def assign(self, vectors):
        return np.array(self.clusters)[vectors[:, 0].astype(int)]

    def seen(self, queries):
        return np.array([query in self.fitted_on for query in queries])

    def embed_many(self, texts):
        return np.array([[float(text[1:])] for text in texts])


def toy_table(models: Sequence[str] = ("sums", "places")) -> ScoreTable:
    """The first model leads in sums, the second in places; further ones are behind both."""

    def row(query: str, topic: int) -> dict[str, object]:
        scores = {name: 0.9 if i == topic else 0.5 / (i + 1) for i, name in enumerate(models)}
        return {
            "query": query,
            "task": ("sums", "places")[topic],
            "scores": scores,
            "costs": {name: 0.001 * (i + 1) for i, name in enumerate(models)},
        }

    return ScoreTable.from_rows([row(q, 0) for q in SUMS] + [row(q, 1) for q in PLACES])


@cache
def toy_router(models: tuple[str, ...] = ("sums", "places")) -> ClusterRouter:
    """A router fitted on that table."""
    return ClusterRouter(n_clusters=2).fit(toy_table(models), HashEmbeddings())
