"""A small language model under a prompt of worked examples, as a LangChain chat model."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, SystemMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import ConfigDict, Field, PrivateAttr

from langchain_avengers.quickstart.language_model import Completion, LanguageModel, load_language_model

BATCH = 16
"""Questions that are answered as one batch when they are asked at the same time."""

_THREADS = ThreadPoolExecutor(max_workers=64, thread_name_prefix="avengers-quickstart")
"""Async calls wait here. The default executor has too few threads on a small machine for a batch to gather."""


@dataclass(eq=False, slots=True)
class _Request:
    """A prompt that waits for its answer."""

    prompt: str
    settings: dict[str, Any]
    result: ChatResult | None = None


class ChatExpert(BaseChatModel):
    """Continues a list of answered questions with the one it is asked.

    A model of 135 million parameters follows examples better than instructions, so what makes it an expert is
    its examples. Answers are one line. The weights load at the first call. Calls made at the same time from
    several threads or tasks are answered as one batch.

    Attributes:
        expert: Name of the expert, reported as the model's name.
        examples: `(question, answer)` pairs put before every question.
        weights: Folder or GGUF file of the model; None: SmolLM2-135M-Instruct, as `find_weights` finds it.
        n: Answers drawn in one call, as one batch.
        temperature: Softmax temperature; 0 takes the likeliest token.
        max_tokens: Most tokens of one answer.
        seed: Of the draws: the same question gets the same answers. None draws anew at every call.
    """

    model_config = ConfigDict(extra="forbid")

    expert: str
    examples: tuple[tuple[str, str], ...] = ()
    weights: str | None = None
    n: int = Field(default=1, ge=1)
    temperature: float = Field(default=0.7, ge=0)
    max_tokens: int = Field(default=8, ge=1)
    seed: int | None = None

    _model: LanguageModel | None = PrivateAttr(default=None)
    _waiting: list[_Request] = PrivateAttr(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "avengers-quickstart"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        fields = ("expert", "examples", "weights", "n", "temperature", "max_tokens", "seed")
        return {"model_name": self.expert, **{name: getattr(self, name) for name in fields}}

    @property
    def language_model(self) -> LanguageModel:
        """The model behind the expert, loaded when first asked for and shared by all experts on it."""
        if self._model is None:
            self._model = load_language_model(self.weights)
        return self._model

    @property
    def prefix(self) -> str:
        """The examples as text, which every prompt starts with."""
        return "".join(f"{_asked(question)} {answer}\n" for question, answer in self.examples)

    def answer_many(self, questions: Sequence[str], *, n: int | None = None) -> list[ChatResult]:
        """Answer several questions as one batch, each as if asked alone.

        Args:
            questions: The questions.
            n: Answers to each; the model's own `n` by default.
        """
        settings = self._settings(n=n)
        asked = [_Request(_asked(question), settings) for question in questions]
        with self.language_model.turn:
            self._answer(asked)
        return [request.result for request in asked if request.result]

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        request = _Request(_conversation(messages), self._settings(stop=stop, **kwargs))
        self._waiting.append(request)
        try:
            with self.language_model.turn:  # whose turn comes answers for all that wait
                if request.result is None:
                    alike = [one for one in self._waiting if one.settings == request.settings]
                    self._answer([request, *(one for one in alike if one is not request)][:BATCH])
        finally:
            self._waiting.remove(request)
        assert request.result is not None
        return request.result

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        call = partial(self._generate, messages, stop, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(_THREADS, call)

    def _settings(
        self,
        *,
        stop: Sequence[str] | None = None,
        n: int | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        seed: int | None = None,
    ) -> dict[str, Any]:
        """A call's arguments, with the model's own values for those not given."""
        seed = self.seed if seed is None else seed
        return {
            "n": self.n if n is None else n,
            "temperature": self.temperature if temperature is None else temperature,
            "max_tokens": self.max_tokens if max_tokens is None else max_tokens,
            "stop": ["\n", *(stop or ())],
            "seed": secrets.randbits(32) if seed is None else seed,
        }

    def _answer(self, requests: Sequence[_Request]) -> None:
        """Answer requests of the same settings as one batch; the caller holds the language model's turn."""
        prompts = [request.prompt for request in requests]
        completions = self.language_model.sample(prompts, prefix=self.prefix, **requests[0].settings)
        for request, each in zip(requests, completions, strict=True):
            request.result = self._result(each.samples, each.prompt_tokens)

    def _result(self, samples: Sequence[Completion], prompt_tokens: int) -> ChatResult:
        drawn = sum(sample.tokens for sample in samples)
        # As providers that take `n` do: every choice reports the usage of the whole request, the prompt paid once.
        usage = UsageMetadata(
            input_tokens=prompt_tokens, output_tokens=drawn, total_tokens=prompt_tokens + drawn
        )
        generations = [
            ChatGeneration(
                message=AIMessage(
                    content=sample.text.strip(),
                    usage_metadata=usage,
                    response_metadata={"finish_reason": sample.finish_reason, "model_name": self.expert},
                )
            )
            for sample in samples
        ]
        return ChatResult(generations=generations, llm_output={"model_name": self.expert})


def _asked(question: str) -> str:
    return f"Question: {' '.join(question.split())}\nAnswer:"


def _conversation(messages: Sequence[BaseMessage]) -> str:
    """Messages as lines in the examples' form; the last of them is what is answered."""
    lines = []
    for message in messages:
        text = " ".join(message.text.split())
        if isinstance(message, SystemMessage):
            lines.append(text)
        elif isinstance(message, AIMessage):
            lines.append(f"Answer: {text}")
        else:
            lines.append(f"Question: {text}")
    return "\n".join([*lines, "Answer:"])
