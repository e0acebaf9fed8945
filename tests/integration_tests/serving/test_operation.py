"""Keys, limits, health, sessions, feedback, reload: what an operator relies on."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import yaml

from langchain_avengers import ClusterRouter, ScoreTable
from langchain_avengers.serving.keys import hashed
from tests.fakes import HashEmbeddings, toy_table
from tests.integration_tests.serving.conftest import Serve, Served
from tests.openai_server import Fault

SUM = [{"role": "user", "content": "What is 2 + 5?"}]
KEY = "correct horse battery staple"


def write_keys(folder: Path, **limits: Any) -> Path:
    path = folder / "keys.yaml"
    path.write_text(yaml.safe_dump({"keys": [{"name": "web", "sha256": hashed(KEY), **limits}]}))
    return path


def ask(served: Served, key: str = KEY, **options: Any) -> Any:
    return served.client(key).chat.completions.create(model="avengers", messages=SUM, **options)


# --- keys ---


def test_a_key_is_needed_everywhere_but_for_health(serve: Serve, tmp_path: Path) -> None:
    served = serve(keys=write_keys(tmp_path), store=tmp_path / "store.sqlite")
    assert ask(served).choices
    for wrong in ("guess", KEY + "x", KEY[:-1]):
        with pytest.raises(openai.AuthenticationError) as error:
            ask(served, wrong)
        assert error.value.code == "invalid_api_key"
    for method, path in (
        ("GET", "/v1/models"), ("GET", "/v1/models/avengers"), ("GET", "/metrics"), ("POST", "/v1/feedback"),
        ("POST", "/v1/chat/completions"),
    ):  # fmt: skip
        response = httpx.request(method, served.url + path)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.json()["error"]["type"] == "authentication_error"
    assert httpx.get(f"{served.url}/healthz").status_code == 200
    assert httpx.get(f"{served.url}/readyz").status_code == 200


def test_keys_of_the_environment(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVENGERS_SERVE_KEY", f"another, {KEY}")
    served = serve()
    assert ask(served).choices
    with pytest.raises(openai.AuthenticationError):
        ask(served, "none")


def test_a_key_may_be_bound_to_members(serve: Serve, tmp_path: Path) -> None:
    served = serve(keys=write_keys(tmp_path, models=["places"]))
    assert ask(served).model_extra["avengers"]["model"] == "places"
    names = [model.id for model in served.client(KEY).models.list()]
    assert "places" in names
    assert "sums" not in names
    with pytest.raises(openai.PermissionDeniedError):
        served.client(KEY).chat.completions.create(model="sums", messages=SUM)


def test_a_keys_rate(serve: Serve, tmp_path: Path) -> None:
    served = serve(keys=write_keys(tmp_path, requests_per_minute=2))
    ask(served)
    ask(served)
    with pytest.raises(openai.RateLimitError) as error:
        ask(served)
    assert 0 < int(error.value.response.headers["retry-after"]) <= 60


def test_a_keys_budget(serve: Serve, tmp_path: Path) -> None:
    served = serve(keys=write_keys(tmp_path, dollars_per_day=1e-9), store=tmp_path / "store.sqlite")
    ask(served)
    with pytest.raises(openai.RateLimitError) as error:
        ask(served)
    assert error.value.code == "insufficient_quota"


# --- limits ---


def test_overload_is_told_and_never_hangs(serve: Serve) -> None:
    release = threading.Event()

    def slow(call: Any) -> str:
        release.wait(20)
        return "7"

    served = serve(
        reply=lambda call: asyncio.to_thread(slow, call), max_concurrent=2, max_queue=1, queue_seconds=0.2,
        options={"strategy": "direct"},
    )  # fmt: skip
    statuses: list[int] = []

    def one() -> None:
        body = {"model": "avengers", "messages": SUM}
        response = httpx.post(f"{served.url}/v1/chat/completions", json=body, timeout=30)
        statuses.append(response.status_code)
        if response.status_code == 429:
            assert int(response.headers["retry-after"]) >= 1
            assert response.json()["error"]["code"] == "overloaded"

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    while len(statuses) < 4:  # two of six are at work until released; the queue's deadline ends the third
        time.sleep(0.005)
    release.set()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200, 200, 429, 429, 429, 429]


def test_bodies_are_bounded(serve: Serve) -> None:
    served = serve(max_body=1000, body_seconds=0.3)
    url = f"{served.url}/v1/chat/completions"
    assert httpx.post(url, content=b"x" * 1001).status_code == 413

    def endless() -> Any:
        yield b"{" * 600
        yield b"{" * 600

    assert httpx.post(url, content=endless()).status_code == 413

    def slow() -> Any:
        yield b"{"
        time.sleep(1)
        yield b"}"

    response = httpx.post(url, content=slow())
    assert response.status_code == 408
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert ask(served).choices  # nobody else is harmed


def test_a_client_that_leaves_ends_its_request(serve: Serve) -> None:
    served = serve(members={"faults": [Fault("hang", times=3)]}, options={"n_samples": 1})
    for stream in (False, True):
        with pytest.raises(openai.APITimeoutError):
            served.client(timeout=0.3).chat.completions.create(model="avengers", messages=SUM, stream=stream)
    while httpx.get(f"{served.url}/readyz").json()["at_work"]:
        time.sleep(0.01)
    served.members.faults.clear()
    assert ask(served).choices


def test_a_member_that_keeps_failing_is_left_out(serve: Serve) -> None:
    served = serve(
        members={"faults": [Fault("error", models=["sums"])]},
        options={"n_samples": 1, "max_retries": 0},
    )
    for _ in range(3):
        assert ask(served).model_extra["avengers"]["model"] == "places"
    before = len(served.members.of_model("sums"))
    assert httpx.get(f"{served.url}/readyz").json()["members"] == {"sums": "open", "places": "closed"}
    ask(served)
    assert len(served.members.of_model("sums")) == before


# --- sessions ---


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("way", ["header", "metadata", "user"])
def test_a_session_keeps_its_model_while_its_topic_lasts(
    serve: Serve, tmp_path: Path, way: str, stored: bool
) -> None:
    served = serve(reply="7", **({"store": tmp_path / "store.sqlite"} if stored else {}))
    named: dict[str, Any] = {
        "header": {"extra_headers": {"X-Session-Id": "s1"}},
        "metadata": {"metadata": {"session_id": "s1"}},
        "user": {"user": "s1"},
    }[way]

    def turn(history: list[Any], **options: Any) -> str:
        answer = served.client().chat.completions.create(model="avengers", messages=history, **options)
        return answer.model_extra["avengers"]["model"]

    first = turn(SUM, extra_body={"avengers": {"allowed_models": ["places"]}}, **named)
    assert first == "places"  # not the best model for sums, but now the session's
    history = [*SUM, {"role": "assistant", "content": "7"}, {"role": "user", "content": "What is 3 + 8?"}]
    assert turn(history, **named) == "places"
    assert turn(history) == "sums"  # another conversation
    assert turn(history, user="s2") == "sums"
    elsewhere = [*history[:-1], {"role": "user", "content": "Which city is the capital of B?"}]
    assert turn(elsewhere, **named) == "places"
    back = [*elsewhere, {"role": "assistant", "content": "7"}, {"role": "user", "content": "What is 4 + 8?"}]
    assert turn(back, **named) == "sums"  # the topic changed


# --- feedback ---


def test_feedback_is_kept_and_bound_to_its_request(serve: Serve, tmp_path: Path) -> None:
    store = tmp_path / "store.sqlite"
    served = serve(store=store)
    answer = ask(served)
    url = f"{served.url}/v1/feedback"
    given = httpx.post(url, json={"request_id": answer.id, "score": 0.5, "comment": "half right"})
    assert given.status_code == 200
    assert given.json()["request_id"] == answer.id
    with sqlite3.connect(store) as db:
        row = db.execute(
            "SELECT r.model, r.strategy, r.query, r.propensity, f.score, f.comment, f.source FROM requests r "
            "JOIN feedback f ON f.request_id = r.id"
        ).fetchone()
    assert row == ("sums", "self_consistency", None, 1.0, 0.5, "half right", "client")
    for wrong in (
        {"request_id": answer.id, "score": 2}, {"request_id": answer.id, "score": "1"}, {"score": 1},
        {"request_id": answer.id}, {"request_id": answer.id, "score": 1, "more": 1}, [], "x",
    ):  # fmt: skip
        response = httpx.post(url, json=wrong)
        assert response.status_code == 400
        assert response.json()["error"]["type"] == "invalid_request_error"
    assert httpx.post(url, json={"request_id": "nobody", "score": 1}).status_code == 404


def test_queries_are_kept_when_asked_to(serve: Serve, tmp_path: Path) -> None:
    store = tmp_path / "store.sqlite"
    ask(serve(store=store, keep_queries=True))
    with sqlite3.connect(store) as db:
        assert db.execute("SELECT query FROM requests").fetchall() == [("What is 2 + 5?",)]


def test_feedback_needs_a_store(serve: Serve) -> None:
    response = httpx.post(f"{serve().url}/v1/feedback", json={"request_id": "x", "score": 1})
    assert response.status_code == 404
    assert "--store" in response.json()["error"]["message"]


def test_exploring_asks_others_now_and_then_and_says_how_likely_that_was(
    serve: Serve, tmp_path: Path
) -> None:
    table = toy_table()
    close = ScoreTable(  # nothing is known for sure of so few rows
        table.queries[:2] + table.queries[-2:],
        ["sums", "places"],
        [[0.6, 0.5], [0.5, 0.5], [0.5, 0.6], [0.5, 0.5]],
    )
    ClusterRouter(n_clusters=2).fit(close, HashEmbeddings()).save(tmp_path / "router")
    store = tmp_path / "store.sqlite"
    served = serve(store=store, explore=0.5, options={"strategy": "direct"})
    for _ in range(60):
        assert ask(served).choices
    with sqlite3.connect(store) as db:
        rows = db.execute(
            "SELECT model, propensity, count(*) FROM requests GROUP BY model, propensity"
        ).fetchall()
    assert len(rows) == 2
    assert sum(chance for _, chance, _ in rows) == pytest.approx(1)
    assert min(count for _, _, count in rows) >= 1
    ask(served, extra_body={"avengers": {"allowed_models": ["places"]}})
    with sqlite3.connect(store) as db:
        assert db.execute("SELECT propensity FROM requests ORDER BY time DESC").fetchone() == (1.0,)


def test_a_draw_that_fails_costs_no_answer(serve: Serve, tmp_path: Path) -> None:
    served = serve(
        members={"faults": [Fault("error", models=["places"])]}, explore=1.0,
        options={"n_samples": 1, "max_retries": 0},
    )  # fmt: skip
    for _ in range(10):
        assert ask(served).model_extra["avengers"]["model"] == "sums"


# --- life ---


def reloads(served: Served, outcome: str) -> float:
    name = f'avengers_router_reloads_total{{outcome="{outcome}"}} '
    lines = httpx.get(f"{served.url}/metrics").text.splitlines()
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))


def test_the_router_is_reloaded_whole_and_a_bad_one_refused(serve: Serve) -> None:
    served = serve()
    assert ask(served).model_extra["avengers"]["model"] == "sums"
    table = toy_table()
    swapped = ScoreTable(
        table.queries, ["sums", "places"], table.scores[:, ::-1], tasks=table.tasks, costs=table.costs
    )
    ClusterRouter(n_clusters=2).fit(swapped, HashEmbeddings()).save(served.router)
    while not reloads(served, "loaded"):
        time.sleep(0.01)
    assert ask(served).model_extra["avengers"]["model"] == "places"
    refused = reloads(served, "refused")
    (served.router / "router.json").write_text("{")
    while reloads(served, "refused") == refused:
        time.sleep(0.01)
    assert ask(served).model_extra["avengers"]["model"] == "places"
    shutil.rmtree(served.router)
    assert ask(served).choices


def test_metrics_tell_what_was_served(serve: Serve) -> None:
    served = serve()
    ask(served)
    served.client().chat.completions.create(model="avengers:direct", messages=SUM)
    with pytest.raises(openai.NotFoundError):
        served.client().chat.completions.create(model="nobody", messages=SUM)
    lines = httpx.get(f"{served.url}/metrics").text.splitlines()
    found = {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if line[0] != "#"}
    assert found['avengers_requests_total{path="/v1/chat/completions",status="200"}'] == 2
    assert found['avengers_requests_total{path="/v1/chat/completions",status="404"}'] == 1
    tokens = sum(
        found[f'avengers_tokens_total{{direction="{way}",model="sums"}}'] for way in ("input", "output")
    )
    assert tokens == served.members.counts.total_tokens
    dollars = (served.members.counts.prompt_tokens + 2 * served.members.counts.completion_tokens) / 1e6
    assert found['avengers_dollars_total{model="sums"}'] == pytest.approx(dollars)
    assert found['avengers_answer_seconds_count{model="sums",strategy="direct"}'] == 1
    assert found['avengers_vote_confidence_count{strategy="self_consistency"}'] == 1
    assert found["avengers_requests_at_work"] == 0


def test_logs_hold_numbers_and_no_content(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="langchain_avengers")
    served = serve(reply="the answer is 7")
    ask(served)
    (record,) = [record for record in caplog.records if record.message == "request"]
    fields = record.fields  # type: ignore[attr-defined]
    assert fields["status"] == 200
    assert fields["model"] == "sums"
    assert fields["samples"] == 3
    assert fields["cost"] > 0
    assert "answer" not in json.dumps(fields)
    assert "2 + 5" not in caplog.text
