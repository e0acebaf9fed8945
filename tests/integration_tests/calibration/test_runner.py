"""Calibration against servers that fail as real ones do, and a runner that is killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from langchain_avengers.calibration.runner import acalibrate
from langchain_avengers.calibration.store import Store
from tests.integration_tests.calibration import harness
from tests.openai_server import Fault, OpenAIServer

SUMS = [{"query": f"What is {i} + 3?", "answer": i + 3, "task": "sum"} for i in range(24)]
Start = Callable[..., OpenAIServer]


@pytest.mark.slow
def test_killed_again_and_again_the_table_is_that_of_a_calm_run(tmp_path: Path) -> None:
    harness.write_questions(tmp_path / "questions.jsonl", 60)
    with harness.servers(tmp_path) as urls:
        calm = harness.run_to_end(tmp_path, tmp_path / "calm", 2)
        assert calm.returncode == 0, calm.stderr
        served = {name: harness.counts(url)["requests"] for name, url in urls.items()}
        assert harness.run_killed(tmp_path, tmp_path / "killed", 2, kills=3) >= 2
        served_killed = {name: harness.counts(url)["requests"] - served[name] for name, url in urls.items()}
    assert harness.table(tmp_path / "killed") == harness.table(tmp_path / "calm")
    assert len(harness.table(tmp_path / "calm")) == 60
    assert harness.asked_again(tmp_path / "killed") == 0
    for out, counted in (("calm", served), ("killed", served_killed)):
        for name, by_status in harness.attempts(tmp_path / out).items():
            least, most = harness.bounds(by_status)
            assert least <= counted[name] <= most, (out, name, by_status, counted)
            assert out == "killed" or least == most, (name, by_status)


async def test_every_request_is_counted_whatever_goes_wrong(tmp_path: Path, openai_server: Start) -> None:
    faults = [Fault("rate_limit", p=0.1), Fault("error", p=0.1), Fault("garbage", p=0.05), Fault("cut", p=0.05),
              Fault("drop", p=0.05), Fault("hang", p=0.03), Fault("slow", p=0.1, seconds=0.1)]  # fmt: skip
    server = openai_server(faults=faults)
    table = await acalibrate(
        {"m": server.chat_model("m")}, SUMS, "number", out=tmp_path, samples=3, timeout=8.0
    )
    assert table.scores.tolist() == [[1.0]] * len(SUMS)
    (status,) = Store(tmp_path).status()
    assert sum(status.attempts.values()) == server.counts.requests
    assert status.attempts["answered"] * 3 == status.graded == server.counts.answers


async def test_tokens_and_cost_are_counted_once_a_request(tmp_path: Path, openai_server: Start) -> None:
    server = openai_server()
    await acalibrate({"m": server.chat_model("m")}, SUMS, "number", out=tmp_path, samples=5)
    (status,) = Store(tmp_path).status()
    assert (status.input_tokens, status.output_tokens) == (
        server.counts.prompt_tokens,
        server.counts.completion_tokens,
    )
    assert server.counts.requests == len(SUMS)
    totals = [(row["input_tokens"], row["output_tokens"]) for row in Store(tmp_path).samples()]
    assert sum(a for a, _ in totals) == pytest.approx(server.counts.prompt_tokens)
    assert sum(b for _, b in totals) == pytest.approx(server.counts.completion_tokens)


@pytest.mark.parametrize("fault", ["ignore_n", "refuse_n"])
async def test_servers_without_n_are_asked_one_by_one(
    fault: str, tmp_path: Path, openai_server: Start
) -> None:
    server = openai_server(faults=[Fault(fault)])  # type: ignore[arg-type]  # one of the kinds
    table = await acalibrate(
        {"m": server.chat_model("m")}, SUMS, "number", out=tmp_path, samples=3, max_concurrency=1
    )
    assert table.scores.tolist() == [[1.0]] * len(SUMS)
    assert server.counts.answers == 3 * len(SUMS)
    assert server.counts.requests <= 3 * len(SUMS) + 2  # found out once, not question by question


async def test_retry_after_holds_the_model_back(openai_server: Start) -> None:
    server = openai_server(faults=[Fault("rate_limit", times=1, retry_after=1.0)])
    await acalibrate({"m": server.chat_model("m")}, SUMS[:6], "number", max_concurrency=1)
    first, second = server.requests[:2]
    assert second.started - first.started >= 0.95


async def test_a_model_that_dies_and_returns_is_measured(tmp_path: Path, openai_server: Start) -> None:
    dying = openai_server(faults=[Fault("die", after=10, times=1, seconds=2.0)])
    table = await acalibrate({"m": dying.chat_model("m")}, SUMS, "number", out=tmp_path, max_concurrency=4)
    assert table.scores.tolist() == [[1.0]] * len(SUMS)
    assert dying.deaths == 1


async def test_a_model_that_stays_dead_is_marked_and_the_others_go_on(
    tmp_path: Path, openai_server: Start
) -> None:
    dying = openai_server(faults=[Fault("die", after=10, times=1, seconds=0)])
    models = {"dies": dying.chat_model("dies"), "lives": openai_server().chat_model("lives")}
    with pytest.warns(UserWarning, match="dies: .*(unreachable|connection)"):
        table = await acalibrate(
            models, SUMS, "number", out=tmp_path, max_concurrency=2, give_up_after=2.0, passes=1
        )
    assert (table.scores[:, table.models.index("lives")] == 1).all()
    dies = next(status for status in Store(tmp_path).status() if status.name == "dies")
    assert dies.graded + sum(dies.failed.values()) == len(SUMS)
    assert dies.pending == 0
    assert sum(dies.failed.values()) > 0


async def test_limits_on_concurrency_hold(openai_server: Start) -> None:
    server = openai_server(delay=0.02)
    await acalibrate({"m": server.chat_model("m")}, SUMS, "number", samples=2, max_concurrency=3)
    assert server.counts.peak == 3


@pytest.mark.slow
def test_two_runners_share_a_store_without_asking_twice(tmp_path: Path) -> None:
    harness.write_questions(tmp_path / "questions.jsonl", 80)
    with harness.servers(
        tmp_path, {"broken": ["error:0.1"], "limited": ["slow:1:0.5"]}, max_concurrency=4
    ) as urls:
        command = harness.command(tmp_path, tmp_path / "out", 2)
        both = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for _ in range(2)
        ]
        for process in both:
            output, _ = process.communicate(timeout=200)
            assert process.returncode == 0, output
        counts = {name: harness.counts(url) for name, url in urls.items()}
    assert {name: count["answers"] for name, count in counts.items()} == {"broken": 160, "limited": 160}
    assert len(harness.table(tmp_path / "out")) == 80
    runs = harness.read(tmp_path / "out", "SELECT count(DISTINCT run_id) FROM attempts")
    assert runs == [(2,)]


@pytest.mark.slow
def test_ctrl_c_stops_cleanly_and_the_run_resumes(tmp_path: Path) -> None:
    harness.write_questions(tmp_path / "questions.jsonl", 60)
    with harness.servers(tmp_path, {"limited": ["slow:1:0.2"]}, max_concurrency=4) as urls:
        process = subprocess.Popen(
            harness.command(tmp_path, tmp_path / "out", 1), stderr=subprocess.PIPE, text=True
        )
        end = time.monotonic() + 100
        while harness.answered(tmp_path / "out") < 5 and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130, errors
        assert harness.attempts(tmp_path / "out")["limited"].keys() == {"answered"}  # nothing was lost
        assert 5 <= len(harness.table(tmp_path / "out")) < 60
        assert harness.run_to_end(tmp_path, tmp_path / "out", 1).returncode == 0
        assert harness.counts(urls["limited"])["requests"] == 60


@pytest.mark.slow
def test_the_command_line(tmp_path: Path) -> None:
    harness.write_questions(tmp_path / "questions.jsonl", 12)
    out = tmp_path / "out"
    with harness.servers(tmp_path, {"broken": []}) as urls:
        dry = harness.run_to_end(tmp_path, out, 2, "--dry-run", "--json")
        assert json.loads(dry.stdout)["models"][0]["requests"] == 12
        assert not out.exists()
        assert harness.counts(urls["broken"])["requests"] == 0
        done = harness.run_to_end(
            tmp_path, out, 2, "--limit", "8", "--json", "--export", str(tmp_path / "samples.jsonl")
        )
        assert done.returncode == 0, done.stderr
        (state,) = json.loads(done.stdout)["models"]
        assert (state["graded"], state["pending"]) == (16, 0)
        assert len((tmp_path / "samples.jsonl").read_text().splitlines()) == 16
        again = harness.run_to_end(tmp_path, out, 2, "--no-resume")
        assert (again.returncode, again.stdout) == (1, "")
        assert "holds a calibration already" in again.stderr
        assert harness.counts(urls["broken"])["requests"] == 8
    status = [
        sys.executable,
        "-m",
        "tests.integration_tests.calibration.harness",
        "calibrate",
        "--status",
        "--out",
        str(out),
    ]
    shown = subprocess.run(status, capture_output=True, text=True)
    assert "broken" in shown.stdout
    wrong = subprocess.run([*status[:4], "pool.yaml"], capture_output=True, text=True)
    assert wrong.returncode == 2


@pytest.mark.slow
def test_no_key_in_store_output_or_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POOL_KEY", "a-very-private-key-0815")
    harness.write_questions(tmp_path / "questions.jsonl", 6)
    with harness.servers(tmp_path, {"broken": ["error:0.3", "garbage:0.2"]}, api_key_env="POOL_KEY"):
        done = harness.run_to_end(tmp_path, tmp_path / "out", 1)
    assert done.returncode == 0
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"a-very-private-key" not in written + done.stdout.encode() + done.stderr.encode()
