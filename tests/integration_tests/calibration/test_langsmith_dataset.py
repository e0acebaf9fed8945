"""The real LangSmith client reads a dataset from a server on loopback."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from langsmith import Client
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from langchain_avengers.calibration.questions import read_dataset
from langchain_avengers.errors import CalibrationError

DATASET = "7f1c0f6e-0000-4000-8000-000000000001"
WHEN = "2026-01-01T00:00:00+00:00"


def example(number: int, inputs: dict[str, Any], outputs: dict[str, Any]) -> dict[str, Any]:
    return {"id": f"7f1c0f6e-0000-4000-8000-{number:012d}", "dataset_id": DATASET, "inputs": inputs, "outputs": outputs,
            "created_at": WHEN, "modified_at": WHEN, "metadata": {"task": "capitals"}}  # fmt: skip


EXAMPLES = [
    example(1, {"question": "Capital of Peru?"}, {"answer": "Lima"}),
    example(2, {"messages": [{"role": "user", "content": "Capital of Chile?"}]}, {"city": "Santiago"}),
]


@pytest.fixture
def client() -> Iterator[Client]:
    async def datasets(request: Request) -> JSONResponse:
        if request.query_params.get("name") != "capitals":
            return JSONResponse([])
        return JSONResponse([{"id": DATASET, "name": "capitals", "created_at": WHEN}])

    async def examples(request: Request) -> JSONResponse:
        start, count = int(request.query_params.get("offset", 0)), int(request.query_params.get("limit", 100))
        return JSONResponse(EXAMPLES[start : start + count])

    async def info(request: Request) -> JSONResponse:
        return JSONResponse({})

    app = Starlette(routes=[Route("/datasets", datasets), Route("/examples", examples), Route("/info", info)])
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield Client(
        f"http://127.0.0.1:{listener.getsockname()[1]}", api_key="lsv2_pt_test", auto_batch_tracing=False
    )
    server.should_exit = True
    thread.join()
    with contextlib.suppress(OSError):
        listener.close()


def test_examples_become_questions(client: Client) -> None:
    one, two = read_dataset("langsmith:capitals", client=client)
    assert (one.text, one.reference, one.task) == ("Capital of Peru?", "Lima", "capitals")
    assert (two.text, two.reference) == ("Capital of Chile?", "Santiago")


def test_fields_reach_into_inputs_and_outputs(client: Client) -> None:
    fields = {"reference": "outputs.answer", "query": "inputs.question"}
    questions = read_dataset("langsmith:capitals", fields, client=client)
    assert next(questions).reference == "Lima"
    with pytest.raises(CalibrationError, match="example 2: has no field"):
        next(questions)


def test_an_unknown_dataset_is_one_clear_error(client: Client) -> None:
    with pytest.raises(CalibrationError, match="langsmith:none"):
        list(read_dataset("langsmith:none", client=client))
