"""A small causal language model in this process: weights in, sampled continuations out.

Made for many short answers on two cores. What prompts have in common at their start is computed once, all prompts
of a call run as one batch, and samples that have drawn the same tokens so far share one row of it.
"""

from __future__ import annotations

import copy
import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

from langchain_avengers.errors import WeightsNotFoundError
from langchain_avengers.weights import SMOLLM2, canonical_name, find_weights, quiet_loading

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerFast


@dataclass(frozen=True, slots=True)
class Completion:
    """One sampled continuation.

    Attributes:
        text: The continuation, without the stop string.
        tokens: Tokens drawn for it, the ending one included.
        finish_reason: `"stop"`, or `"length"` where `max_tokens` cut it off.
    """

    text: str
    tokens: int
    finish_reason: str


@dataclass(frozen=True, slots=True)
class Completions:
    """The continuations of one prompt.

    Attributes:
        samples: The continuations, in the order drawn.
        prompt_tokens: Tokens of the prompt, its shared start included.
    """

    samples: tuple[Completion, ...]
    prompt_tokens: int


class LanguageModel:
    """A causal language model and its tokenizer. Calls take turns: one call already uses every core.

    Args:
        weights: A folder in the hub's layout, or a GGUF file.

    Attributes:
        turn: The lock under which it samples. Hold it to gather several prompts into one call.
    """

    def __init__(self, weights: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        folder, gguf = (weights.parent, weights.name) if weights.is_file() else (weights, None)
        try:
            with quiet_loading(), _one_reading() if gguf else nullcontext():
                self.tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(
                    folder, gguf_file=gguf
                )
                self.model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
                    folder, gguf_file=gguf, dtype=torch.float32
                )
        except (OSError, ValueError, ImportError) as error:
            reason = str(error).strip().splitlines()[0]
            raise WeightsNotFoundError(f"{weights} cannot be read as a language model: {reason}") from error
        self.name = weights.stem if weights.is_file() else canonical_name(weights)
        self.model.eval()
        self._prefixes: dict[str, DynamicCache] = {}
        self.turn = threading.RLock()

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def sample(
        self,
        prompts: Sequence[str],
        *,
        prefix: str = "",
        n: int = 1,
        temperature: float = 0.7,
        max_tokens: int = 32,
        stop: Sequence[str] = (),
        seed: int = 0,
    ) -> list[Completions]:
        """Draw `n` continuations of every prompt.

        The draws for a prompt depend on `seed` and the prompt, not on what else is in the batch.

        Args:
            prompts: Texts to continue, each after `prefix`.
            prefix: What all prompts start with. Its keys and values are kept for later calls.
            n: Continuations of each prompt.
            temperature: Softmax temperature; 0 takes the likeliest token.
            max_tokens: Most tokens to draw for one continuation.
            stop: Strings that end a continuation, and are cut from it.
            seed: Of the random draws.

        Returns:
            One entry a prompt, in order.
        """
        with self.turn:
            return self._sample(prompts, prefix, n, temperature, max_tokens, stop, seed)

    def _sample(
        self,
        prompts: Sequence[str],
        prefix: str,
        n: int,
        temperature: float,
        max_tokens: int,
        stop: Sequence[str],
        seed: int,
    ) -> list[Completions]:
        import torch

        encoded = [self.tokenizer.encode(prompt, add_special_tokens=False) for prompt in prompts]
        width = max(map(len, encoded))
        pads = [width - len(ids) for ids in encoded]
        drawn: list[list[int]] = [[] for _ in range(len(prompts) * n)]
        finished: dict[int, Completion] = {}
        uniforms = torch.cat([_uniforms(prefix + prompt, seed, n, max_tokens) for prompt in prompts])

        with torch.inference_mode():
            cache, known = self._prefix(prefix)
            cache.batch_repeat_interleave(len(prompts))
            # Left padding between the shared start and the prompt is masked out, and positions count on past it.
            mask = torch.ones(len(prompts), known + width, dtype=torch.long)
            for row, pad in enumerate(pads):
                mask[row, known : known + pad] = 0
            tokens = torch.tensor([[0] * pad + ids for pad, ids in zip(pads, encoded, strict=True)])

            samples = torch.arange(len(drawn))  # samples still being drawn
            rows = samples // n  # the batch row each of them stands on
            for step in range(max_tokens):
                logits = self._forward(tokens, mask, cache)
                chosen = _draw(logits[rows], temperature, uniforms[samples, step])
                for sample, token in zip(samples.tolist(), chosen.tolist(), strict=True):
                    drawn[sample].append(token)
                    if (completion := self._finish(drawn[sample], stop, max_tokens)) is not None:
                        finished[sample] = completion
                going = torch.tensor([sample not in finished for sample in samples.tolist()])
                samples, rows, chosen = samples[going], rows[going], chosen[going]
                if not len(samples):
                    break
                # Samples that stand on the same row and drew the same token go on as one row.
                pairs, rows = torch.unique(torch.stack([rows, chosen], dim=1), dim=0, return_inverse=True)
                if len(pairs) != len(mask) or not torch.equal(pairs[:, 0], torch.arange(len(mask))):
                    cache.batch_select_indices(pairs[:, 0])
                mask = torch.cat([mask[pairs[:, 0]], torch.ones(len(pairs), 1, dtype=torch.long)], dim=1)
                tokens = pairs[:, 1:]

        return [
            Completions(tuple(finished[index * n + k] for k in range(n)), known + len(ids))
            for index, ids in enumerate(encoded)
        ]

    def _prefix(self, prefix: str) -> tuple[DynamicCache, int]:
        """The keys and values of a shared start, computed once, as a copy to be written on; and its length."""
        from torch import ones, tensor
        from transformers import DynamicCache

        if prefix not in self._prefixes:
            cache = DynamicCache(config=self.model.config)
            if ids := self.tokenizer.encode(prefix, add_special_tokens=False):
                self._forward(tensor([ids]), ones(1, len(ids), dtype=int), cache)
            self._prefixes[prefix] = cache
        cache = self._prefixes[prefix]
        return copy.deepcopy(cache), cache.get_seq_length()

    def _forward(self, tokens: Tensor, mask: Tensor, cache: DynamicCache) -> Tensor:
        """Logits after the last token, of shape (rows, vocabulary)."""
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
        output = self.model(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: Tensor = output.logits[:, -1]
        return logits

    def _finish(self, drawn: list[int], stop: Sequence[str], max_tokens: int) -> Completion | None:
        ended = drawn[-1] == self.tokenizer.eos_token_id
        text = self.tokenizer.decode(drawn, skip_special_tokens=True)
        cuts = [at for mark in stop if (at := text.find(mark)) >= 0]
        if ended or cuts:
            return Completion(text[: min(cuts, default=len(text))], len(drawn), "stop")
        return Completion(text, len(drawn), "length") if len(drawn) == max_tokens else None


def _uniforms(prompt: str, seed: int, n: int, steps: int) -> Tensor:
    """Uniform draws for one prompt, of shape (n, steps)."""
    import torch

    digest = hashlib.sha256(f"{seed}\n{prompt}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7]))
    return torch.rand(n, steps, generator=generator)


def _draw(logits: Tensor, temperature: float, uniforms: Tensor) -> Tensor:
    """One token a row by the inverse of the cumulative distribution."""
    if temperature <= 0:
        return logits.argmax(dim=1)
    cumulated = (logits / temperature).softmax(dim=1).cumsum(dim=1)
    # The sum may miss 1 by rounding: draws are scaled to what there is.
    targets = (uniforms * cumulated[:, -1]).unsqueeze(1)
    return (cumulated <= targets).sum(dim=1).clamp(max=logits.shape[1] - 1)


@contextmanager
def _one_reading() -> Iterator[None]:
    """Let transformers read a GGUF file once, and without a progress bar, for the block.

    It parses the file for the configuration, the tokenizer and the weights anew, and makes one table of names for
    every submodule: 25 s instead of 8.
    """
    import gguf
    from tqdm.auto import tqdm  # type: ignore[import-untyped]  # has no stubs
    from transformers import modeling_gguf_pytorch_utils as reading

    with ExitStack() as stack:
        for name in ("GGUFReader", "get_tensor_name_map"):
            stack.enter_context(patch.object(gguf, name, cache(getattr(gguf, name))))
        stack.enter_context(patch.object(reading, "tqdm", partial(tqdm, disable=True)))
        yield


_loaded: dict[Path, LanguageModel] = {}
_loading = threading.Lock()


def load_language_model(weights: str | Path | None = None) -> LanguageModel:
    """Load SmolLM2-135M-Instruct, or other weights, once per process; about 10 s from GGUF on two cores.

    Args:
        weights: A folder or GGUF file. By default the weights are looked up as `find_weights` says.

    Raises:
        WeightsNotFoundError: The weights are nowhere, or are not a language model.
    """
    with _loading:
        path = find_weights(SMOLLM2.hub, weights).resolve()
        if path not in _loaded:
            _loaded[path] = LanguageModel(path)
        return _loaded[path]
