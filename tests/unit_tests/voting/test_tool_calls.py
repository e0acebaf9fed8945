"""Votes on tool calls: whether, which, how often, with what."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage

from langchain_avengers.voting.tool_calls import group_calls
from langchain_avengers.voting.voters import AutoVoter, MajorityVoter, Sample, Vote


def calls(*wanted: tuple[str, dict[str, Any]]) -> Sample:
    listed = [{"name": name, "args": args, "id": f"c{i}"} for i, (name, args) in enumerate(wanted)]
    return Sample(AIMessage("", tool_calls=listed))


def search(query: str) -> Sample:
    return calls(("search", {"query": query}))


def says(text: str, score: float | None = None) -> Sample:
    return Sample(AIMessage(text), "m", score)


WORDINGS = [
    "weather in Paris today", "Paris weather today", "today weather Paris France", "the weather today in Paris",
    "what is the weather in Paris today", "weather Paris", "current weather in Paris", "Paris weather forecast today",
]  # fmt: skip
DECLINES = [
    "None of the tools fits this.", "I cannot do that with my tools.", "Sorry, no function helps here.",
    "There is no suitable tool for this.", "The given functions do not apply.", "I have no tool for this request.",
]  # fmt: skip


@pytest.fixture(params=["auto", "majority", "auto async", "majority async"])
def elect(request: pytest.FixtureRequest) -> Any:
    voter = AutoVoter() if request.param.startswith("auto") else MajorityVoter()

    async def elected(*samples: Sample) -> Vote:
        return await voter.avote(samples) if request.param.endswith("async") else voter.vote(samples)

    return elected


async def test_wordings_of_one_call_outvote_two_texts(elect: Any) -> None:
    samples = [*map(search, WORDINGS), says("Answer: 5"), says("Answer: 5")]
    vote = await elect(*samples)
    assert samples[vote.winner].message.tool_calls
    assert vote.confidence >= 0.6
    assert vote.tally[-1].count == 2
    assert sum(c.count for c in vote.tally) == 10


async def test_texts_that_decline_outvote_invented_calls(elect: Any) -> None:
    samples = [*map(says, DECLINES), search("a"), search("a"), calls(("book", {"n": 2}))]
    vote = await elect(*samples)
    assert not samples[vote.winner].message.tool_calls
    assert vote.tally[-1].count == 3
    assert 0 < vote.confidence <= 6 / 9
    assert sorted([*vote.abstained, *(i for c in vote.tally for i in c.samples)]) == list(range(9))


async def test_texts_that_answer_vote_as_without_tools(elect: Any) -> None:
    samples = [search("a"), says("Answer: 4"), says("Answer: 5"), says("The answer is 5.")]
    vote = await elect(*samples)
    assert vote.winner == 2
    assert vote.answer.value == "5"
    assert vote.tally[0].samples == (2, 3)
    assert vote.confidence == pytest.approx(0.75 * 2 / 3)


async def test_which_tools_and_how_often_come_before_arguments(elect: Any) -> None:
    once = calls(("add", {"a": 1, "b": 2}))
    twice = calls(("add", {"a": 1, "b": 2}), ("add", {"a": 3, "b": 4}))
    turned = calls(("add", {"a": 3, "b": 4}), ("add", {"b": 2, "a": 1}))
    vote = await elect(once, twice, turned)
    assert vote.tally[0].samples == (1, 2)


async def test_a_side_of_equal_weight_wins_by_its_model(elect: Any) -> None:
    assert (await elect(search("a"), says("Answer: 5", 0.9))).winner == 1
    assert (await elect(search("a"), says("Answer: 5"))).winner == 0


async def test_empty_and_cut_samples_abstain(elect: Any) -> None:
    vote = await elect(says(""), search("a"), says(""), says(""))
    assert (vote.winner, vote.abstained, vote.confidence) == (1, (0, 2, 3), 1.0)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"q": "cheap flights to Rome"}, {"q": "flights to Rome cheap"}, True),
        ({"city": "San Francisco, CA"}, {"city": "San Francisco"}, True),
        ({"city": "Paris"}, {"city": "Rome"}, False),
        ({"city": "Paris"}, {"city": "paris"}, True),
        ({"day": "2023-01-01"}, {"day": "2023-01-02"}, False),
        ({"q": "top 5 films of 1999"}, {"q": "top 10 films of 1999"}, False),
        ({"n": 5}, {"n": 5.0}, True),
        ({"n": 5}, {"n": 6}, False),
        ({"n": 5}, {"n": 5, "m": 1}, False),
        ({"list": ["a b c", "d"]}, {"list": ["a c b", "d"]}, True),
        ({"list": [1]}, {"list": [1, 2]}, False),
    ],
)
def test_arguments_that_mean_the_same(one: dict[str, Any], other: dict[str, Any], same: bool) -> None:
    labels = group_calls([calls(("f", one)).message, calls(("f", other)).message])
    assert (labels[0] == labels[1]) is same
