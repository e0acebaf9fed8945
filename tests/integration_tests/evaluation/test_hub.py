"""Routers on the hub, against a server on this machine that speaks as much of its protocol as is needed."""

import base64
import json
import threading
import time
from hashlib import sha256

import numpy as np
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from langchain_avengers import ClusterRouter
from langchain_avengers.errors import ArtifactError
from langchain_avengers.routing import hub
from langchain_avengers.routing.card import router_card
from tests.unit_tests.evaluation.synthetic import fitted, make_table

TOKEN = "hf_abcdefghijklmnopqrstuvwxyzABCDEFGH"
OID = "a" * 40


class FakeHub:
    """Repositories in memory; every request is noted."""

    def __init__(self):
        self.repos, self.requests = {}, []
        self.app = Starlette(routes=[Route("/{path:path}", self.answer, methods=["GET", "POST", "HEAD"])])

    async def answer(self, request: Request) -> Response:
        path, body = request.path_params["path"], await request.body()
        self.requests.append((request.method, path, request.headers.get("authorization")))
        if path == "api/repos/create":
            data = json.loads(body)
            name = (
                f"{data['organization']}/{data['name']}" if data.get("organization") else f"me/{data['name']}"
            )
            given = request.headers.get("authorization")
            if given != f"Bearer {TOKEN}":
                return JSONResponse({"error": f"bad credentials: {given}"}, 401)
            known = name in self.repos
            self.repos.setdefault(name, {})
            return JSONResponse({"url": f"{self.url}/{name}", "name": name}, 409 if known else 200)
        if path == "api/validate-yaml":
            return JSONResponse({"errors": [], "warnings": []})
        name = "/".join(path.removeprefix("api/models/").split("/")[:2])
        if name not in self.repos:
            return JSONResponse({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        files = self.repos[name]
        if "/preupload/" in path:
            wanted = [file["path"] for file in json.loads(body)["files"]]
            modes = [{"path": file, "uploadMode": "regular", "shouldIgnore": False} for file in wanted]
            return JSONResponse({"files": modes})
        if "/commit/" in path:
            for line in body.decode().splitlines():
                part = json.loads(line)
                if part["key"] == "file":
                    files[part["value"]["path"]] = base64.b64decode(part["value"]["content"])
            return JSONResponse(
                {
                    "success": True,
                    "commitOid": OID,
                    "commitUrl": f"{self.url}/{name}/commit/{OID}",
                    "hookOutput": "",
                }
            )
        if "/resolve/" in path:
            file = path.split(f"/resolve/{OID}/")[1]
            headers = {"ETag": f'"{abs(hash(files[file])):x}"', "X-Repo-Commit": OID}
            return Response(files[file], headers=headers, media_type="application/octet-stream")
        if "/tree/" in path:
            return JSONResponse(
                [
                    {"type": "file", "path": file, "size": len(data), "oid": OID}
                    for file, data in files.items()
                ]
            )
        siblings = [{"rfilename": file} for file in files]
        return JSONResponse({"id": name, "modelId": name, "sha": OID, "siblings": siblings, "tags": []})


@pytest.fixture
def server(monkeypatch, tmp_path):
    fake = FakeHub()
    running = uvicorn.Server(uvicorn.Config(fake.app, port=0, log_level="error"))
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    fake.url = f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}"
    monkeypatch.setenv("HF_ENDPOINT", fake.url)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    yield fake
    running.should_exit = True
    thread.join(timeout=10)


@pytest.fixture
def saved(tmp_path):
    folder = tmp_path / "router"
    folder.mkdir()
    router = fitted(90, n_clusters=3)
    (folder / "README.md").write_text(router_card(router.fitted_), encoding="utf-8")
    (folder / "router.json").write_text('{"schema_version": 1}', encoding="utf-8")
    np.save(folder / "centroids.npy", router.centroids_, allow_pickle=False)
    (folder / "notes.env").write_text("SECRET=1", encoding="utf-8")
    return folder


def test_a_router_goes_to_the_hub_and_comes_back(server, saved):
    address = hub.push(saved, "me/router", token=TOKEN)
    assert address == f"{server.url}/me/router/commit/{OID}"
    assert set(server.repos["me/router"]) == {"router.json", "centroids.npy", "README.md"}, (
        "nothing else is sent"
    )
    folder = hub.download("me/router", token=TOKEN)
    for file in hub.FILES:
        assert (folder / file).read_bytes() == (saved / file).read_bytes()
    assert hub.push(saved, "me/router", token=TOKEN) == address, "once more, into the same repository"


def test_what_goes_wrong_is_one_line_without_the_token(server, saved, tmp_path):
    with pytest.raises(ArtifactError, match=r"no router\.json in it"):
        hub.push(tmp_path, "me/router", token=TOKEN)
    with pytest.raises(ArtifactError, match="no name on the hub"):
        hub.push(saved, "router", token=TOKEN)
    with pytest.raises(ArtifactError, match="me/other: no such folder, and the hub gave no router"):
        hub.download("me/other")
    server.repos["me/empty"] = {"README.md": b"# not a router"}
    with pytest.raises(ArtifactError, match=r"holds no router\.json"):
        hub.download("me/empty")
    wrong = TOKEN[:-1] + "X"
    with pytest.raises(ArtifactError, match="was not sent") as refused:
        hub.push(saved, "me/new", token=wrong)
    assert wrong not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_hub_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert hub.is_hub_name("user/router")
    (tmp_path / "user" / "router").mkdir(parents=True)
    assert not hub.is_hub_name("user/router"), "a folder that is here comes first"
    for path in ("router", "/user/router", "./user/router", "a/b/c", tmp_path, "user/../x"):
        assert not hub.is_hub_name(path)


def test_the_card_is_what_hubs_read():
    card = router_card(fitted(90, n_clusters=3).fitted_)
    head, rest = card.removeprefix("---\n").split("\n---\n", 1)
    assert "library_name: langchain-avengers" in head
    assert "| maker/all-round | 0." in rest
    assert "maker/\\<weak\\>" in rest, "markup in names is text"
    assert "<script>" not in rest
    assert "90 graded queries of 3 tasks" in rest
    tables = [line for line in rest.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in tables} <= {5, 6}
    table, vectors = make_table(30, costs=False)
    from langchain_avengers import ClusterRouter

    assert "$ per 1000" not in router_card(ClusterRouter(n_clusters=2).fit(table, vectors=vectors).fitted_)


def test_a_router_pushes_itself_and_loads_by_name(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    router = fitted(90, n_clusters=3)
    router.push_to_hub("me/whole", token=TOKEN)
    assert ClusterRouter.load("me/whole").fingerprint_ == router.fingerprint_
    with pytest.raises(ArtifactError, match=r"there is no such folder, and on the hub: .*me/absent"):
        ClusterRouter.load("me/absent")


def test_a_revision_and_a_digest_pin_a_router_of_the_hub(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    router = fitted(90, n_clusters=3)
    router.push_to_hub("me/pinned", token=TOKEN)
    digest = sha256(server.repos["me/pinned"]["router.json"]).hexdigest()
    loaded = ClusterRouter.load("me/pinned", revision="v1", sha256=digest)
    assert loaded.fingerprint_ == router.fingerprint_
    assert any(path.startswith("api/models/me/pinned/revision/v1") for _, path, _ in server.requests)
    with pytest.raises(ArtifactError, match="not the router you named"):
        ClusterRouter.load("me/pinned", revision="v1", sha256="0" * 64)
