"""The query of a traced run, in every form in which an application gives messages."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_avengers.routing.readers.traces import _query

HI = [{"role": "user", "content": "hi"}]
BOTH = [{"role": "system", "content": "be kind"}, *HI]


@pytest.mark.parametrize(
    ("messages", "query"),
    [
        ([["human", "hi"]], HI),
        ([["system", "be kind"], ["human", "hi"]], BOTH),
        ([("system", "be kind"), ("user", "hi")], BOTH),
        ([[["system", "be kind"], ["human", "hi"]]], BOTH),
        (["hi"], HI),
        ([["hi"]], HI),
        ("hi", HI),
        ([{"role": "user", "content": "hi"}], HI),
        ([[{"type": "human", "data": {"content": "hi"}}]], HI),
        ([["ai", "hello"]], None),
        ([["nobody", 3]], None),
    ],
)
def test_forms_of_messages(messages: Any, query: Any) -> None:
    assert _query({"messages": messages}) == query
