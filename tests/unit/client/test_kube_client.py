"""The Kubernetes client against a server that misbehaves on purpose."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import yaml

from kuttab.api import kinds, meta
from kuttab.base import errors
from kuttab.client import kube, kube_status, kube_wire
from kuttab.ports import objects as ports
from kuttab.testing import builders

Handler = Callable[[httpx.Request], httpx.Response | Awaitable[httpx.Response]]
TLS = ssl.create_default_context()


class Pieces(httpx.AsyncByteStream):
    """An answer's body, piece by piece; an exception among the pieces breaks it."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self._pieces = pieces
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def aclose(self) -> None:
        """Left."""
        self.closed = True


class Server:
    """Answers in the order given; remembers what was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self._answers = list(answers)
        self.asked: list[httpx.Request] = []

    def client(self) -> kube.KubeClient:
        """A client of this server."""
        access = kube_wire.Access("https://server.test", "default", TLS, None)
        return kube.KubeClient(kube_wire.Wire(access, transport=httpx.MockTransport(self._answer)))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def status(code: int, reason: str, message: str = "no", **more: Any) -> meta.Json:
    """A Status document."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
        **more,
    }


def refusal(code: int, reason: str, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
    """An answer with a Status."""
    return httpx.Response(code, json=status(code, reason, **more), headers=headers)


def config_map(name: str = "a", version: str = "5") -> meta.Json:
    """A stored ConfigMap."""
    metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}", "resourceVersion": version}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"k": "v"}}


def line(type_: str, document: meta.Json) -> bytes:
    """One event of a watch."""
    return json.dumps({"type": type_, "object": document}).encode() + b"\n"


def watch_answer(*pieces: bytes | Exception) -> httpx.Response:
    """An answer that is a watch."""
    return httpx.Response(200, stream=Pieces(*pieces))


@pytest.fixture(autouse=True)
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nobody waits; how long they would have."""
    taken: list[float] = []

    async def nap(seconds: float) -> None:
        taken.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", nap)
    return taken


@pytest.mark.parametrize(
    ("code", "reason", "wanted"),
    [
        (404, "NotFound", errors.NotFoundError),
        (409, "AlreadyExists", errors.AlreadyExistsError),
        (409, "Conflict", errors.ConflictError),
        (409, "", errors.ConflictError),
        (410, "Expired", errors.ExpiredError),
        (410, "Gone", errors.ExpiredError),
        (403, "Forbidden", errors.ForbiddenError),
        (401, "Unauthorized", errors.ForbiddenError),
        (400, "BadRequest", errors.BadInputError),
        (405, "MethodNotAllowed", errors.BadInputError),
        (413, "RequestEntityTooLarge", errors.TooLargeError),
        (422, "Invalid", errors.InvalidError),
        (500, "InternalError", errors.UnavailableError),
        (503, "ServiceUnavailable", errors.UnavailableError),
        (504, "Timeout", errors.DeadlineError),
        (502, "", errors.UnavailableError),
        (418, "", errors.BadInputError),
    ],
)
def test_statuses_become_errors(code: int, reason: str, wanted: type[Exception]) -> None:
    """Each refusal of an API server is one class of ours, with the server's sentence."""
    found = kube_status.error_of(code, status(code, reason, "sentence"))
    assert type(found) is wanted
    assert "sentence" in found.message


def test_answers_that_are_no_status() -> None:
    """A proxy's page, an empty body or other JSON is judged by its code and quoted in short."""
    assert type(kube_status.error_of(502, None, "<html>bad gateway")) is errors.UnavailableError
    assert "bad gateway" in kube_status.error_of(502, None, "<html>bad gateway").message
    assert type(kube_status.error_of(404, {"kind": "Other"}, "")) is errors.NotFoundError
    assert len(kube_status.error_of(500, None, "x" * 100_000).message) < 5_000
    assert type(kube_status.error_of(500, status(500, "", "etcdserver: request is too large"))) is errors.TooLargeError


def test_causes_become_problems() -> None:
    """Every cause of a 422 is a problem at its field path; without causes the message stands alone."""
    causes = [
        {"field": "spec.a", "message": "bad", "reason": "FieldValueInvalid"},
        {"field": "spec.b", "message": "worse"},
    ]
    found = kube_status.error_of(422, status(422, "Invalid", details={"kind": "Job", "name": "x", "causes": causes}))
    assert isinstance(found, errors.InvalidError)
    assert [(item.path, item.message) for item in found.problems] == [("spec.a", "bad"), ("spec.b", "worse")]
    assert found.subject == "Job x"
    bare = kube_status.error_of(422, status(422, "Invalid", "all wrong"))
    assert isinstance(bare, errors.InvalidError)
    assert bare.problems[0].message == "all wrong"


async def test_a_busy_server_is_asked_again(naps: list[float]) -> None:
    """429 had no effect, so any verb is sent again after Retry-After; other refusals of a write are not."""
    server = Server(refusal(429, "TooManyRequests", {"Retry-After": "7"}), httpx.Response(201, json=config_map()))
    assert (await server.client().create(builders.config_map())).name == "a"
    assert naps == [7.0]
    server = Server(refusal(503, "ServiceUnavailable", {"Retry-After": "1"}))
    with pytest.raises(errors.UnavailableError):
        await server.client().create(builders.config_map())
    assert len(server.asked) == 1


async def test_a_server_that_stays_busy_is_unavailable(naps: list[float]) -> None:
    """Asking again ends: after some tries, and at once when the server wants more patience than we have."""
    server = Server(*[refusal(429, "TooManyRequests", {"Retry-After": "1"}) for _ in range(kube_wire.TRIES)])
    with pytest.raises(errors.UnavailableError):
        await server.client().get(kinds.CONFIG_MAP, "default", "a")
    assert len(naps) == kube_wire.TRIES - 1
    server = Server(refusal(429, "TooManyRequests", {"Retry-After": "3600"}))
    with pytest.raises(errors.UnavailableError):
        await server.client().get(kinds.CONFIG_MAP, "default", "a")


async def test_lost_replies() -> None:
    """A read whose answer was lost is repeated once; a write is not, and its error says that the effect is unknown."""
    lost = httpx.RemoteProtocolError("server disconnected")
    server = Server(lost, httpx.Response(200, json=config_map()))
    assert (await server.client().get(kinds.CONFIG_MAP, "default", "a")).name == "a"
    server = Server(lost, lost)
    with pytest.raises(errors.UnavailableError):
        await server.client().get(kinds.CONFIG_MAP, "default", "a")
    for problem in (lost, httpx.ReadTimeout("slow"), httpx.ReadError("reset")):
        server = Server(problem)
        with pytest.raises(errors.DeadlineError, match="unknown"):
            await server.client().create(builders.config_map())
        assert len(server.asked) == 1


async def test_a_server_that_is_away() -> None:
    """No connection is UnavailableError, and not a DeadlineError: nothing can have happened."""
    server = Server(httpx.ConnectError("refused"))
    with pytest.raises(errors.UnavailableError) as caught:
        await server.client().create(builders.config_map())
    assert type(caught.value) is errors.UnavailableError


async def test_an_answer_that_is_no_json() -> None:
    """A success without JSON (a captive portal) is BrokenAnswer, not an object."""
    server = Server(httpx.Response(200, text="<html>log in"))
    with pytest.raises(errors.BrokenAnswerError):
        await server.client().get(kinds.CONFIG_MAP, "default", "a")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../secrets/x"])
async def test_names_cannot_leave_their_place(name: str) -> None:
    """A name that would change the path of the request is NotFound before anything is sent."""
    server = Server()
    with pytest.raises(errors.NotFoundError):
        await server.client().get(kinds.CONFIG_MAP, "default", name)
    with pytest.raises(errors.NotFoundError):
        await server.client().delete(kinds.CONFIG_MAP, name, "a")
    assert not server.asked


async def test_whole_lists_begin_again_when_a_page_expires() -> None:
    """A list without limit is read in pages; if its revision is compacted meanwhile it begins anew, never half."""
    page = {"metadata": {"resourceVersion": "9", "continue": "t"}, "items": [config_map("a")]}
    whole = {"metadata": {"resourceVersion": "12"}, "items": [config_map("b"), config_map("a")]}
    server = Server(httpx.Response(200, json=page), refusal(410, "Expired"), httpx.Response(200, json=whole))
    found = await server.client().list(kinds.CONFIG_MAP)
    assert [item.name for item in found.items] == ["a", "b"]
    assert found.resource_version == "12"


async def test_one_unreadable_object_hides_no_other() -> None:
    """An object that breaks our types is left out of lists and watches, and told by get."""
    bad = {"metadata": {"name": "x", "resourceVersion": "6"}, "spec": {"maxTrialCount": "many"}}
    good = meta.dump(builders.experiment("good"))
    server = Server(
        httpx.Response(200, json={"metadata": {"resourceVersion": "9"}, "items": [bad, good]}),
        httpx.Response(200, json={"apiVersion": "kubeflow.org/v1beta1", "kind": "Experiment", **bad}),
    )
    client = server.client()
    assert [item.name for item in (await client.list(kinds.EXPERIMENT, "default")).items] == ["good"]
    with pytest.raises(errors.BrokenAnswerError, match="x"):
        await client.get(kinds.EXPERIMENT, "default", "x")


async def test_a_broken_watch_goes_on_where_it_broke() -> None:
    """After a lost connection, half an event or the server's own time limit the watch goes on from the last revision seen."""
    bookmark = line("BOOKMARK", {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"resourceVersion": "8"}})
    second = line("ADDED", config_map("b", "9"))
    server = Server(
        watch_answer(
            line("ADDED", config_map("a", "7"))[:20], line("ADDED", config_map("a", "7"))[20:], httpx.ReadError("reset")
        ),
        watch_answer(bookmark, second[:30]),
        watch_answer(second),
        refusal(410, "Expired"),
    )
    stream = server.client().watch(kinds.CONFIG_MAP, "default", resource_version="5")
    seen = [(str(event.type), event.object.name) for event in [await anext(stream) for _ in range(3)]]
    with pytest.raises(errors.ExpiredError):
        await anext(stream)
    assert seen == [("ADDED", "a"), ("BOOKMARK", ""), ("ADDED", "b")]
    assert [request.url.params["resourceVersion"] for request in server.asked] == ["5", "7", "8", "9"]


async def test_expiry_within_a_watch() -> None:
    """An ERROR event with code 410 is ExpiredError; one with 500 is a broken connection, taken up again."""
    server = Server(
        watch_answer(line("ERROR", status(500, "InternalError"))),
        watch_answer(line("ERROR", status(410, "Expired", "too old resource version"))),
    )
    with pytest.raises(errors.ExpiredError, match="too old"):
        await anext(server.client().watch(kinds.CONFIG_MAP, resource_version="5"))


async def test_a_watch_gives_up_in_the_end() -> None:
    """A server that stays away is told to the caller, who lists again when it is back."""
    server = Server(*[httpx.ConnectError("refused")] * 20)
    with pytest.raises(errors.UnavailableError):
        await anext(server.client().watch(kinds.CONFIG_MAP, resource_version="5"))


async def test_a_watch_that_ends_at_once_is_not_a_busy_loop(naps: list[float]) -> None:
    """A server that ends every watch as soon as it began is waited for, ever longer, and then told to the caller."""
    server = Server(*[watch_answer() for _ in range(20)])
    with pytest.raises(errors.UnavailableError):
        await anext(server.client().watch(kinds.CONFIG_MAP, resource_version="5"))
    assert len(naps) == len(server.asked) - 1
    assert naps[-1] > naps[0]


async def test_leaving_a_watch_closes_its_connection() -> None:
    """Nothing of a watch stays open after ``aclose``."""
    body = Pieces(line("ADDED", config_map()), line("ADDED", config_map("b", "8")))
    server = Server(httpx.Response(200, stream=body))
    stream = server.client().watch(kinds.CONFIG_MAP, resource_version="5")
    await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]
    assert body.closed


async def test_deletion_says_what_is_meant() -> None:
    """Propagation and preconditions are in the request; an object that is on its way out is returned, a Status is not."""
    left = config_map()
    left["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    server = Server(httpx.Response(200, json=left), httpx.Response(200, json={"kind": "Status", "apiVersion": "v1"}))
    client = server.client()
    wish = {"uid": "u", "resource_version": "5"}
    found = await client.delete(kinds.CONFIG_MAP, "default", "a", propagation=ports.Propagation.FOREGROUND, **wish)
    assert found is not None
    assert await client.delete(kinds.CONFIG_MAP, "default", "a") is None
    body = json.loads(server.asked[0].content)
    assert body["propagationPolicy"] == "Foreground"
    assert body["preconditions"] == {"uid": "u", "resourceVersion": "5"}
    assert "preconditions" not in json.loads(server.asked[1].content)


async def test_logs_that_break_are_known_to_be_broken() -> None:
    """A log that ended properly ends; one whose connection broke raises."""
    server = Server(watch_answer(b"one\n", b"two\n"), watch_answer(b"one\n", httpx.RemoteProtocolError("incomplete")))
    client = server.client()
    assert b"".join([piece async for piece in client.follow_log("default", "p", "c", tail=3)]) == b"one\ntwo\n"
    assert server.asked[0].url.params == httpx.QueryParams({"container": "c", "follow": "true", "tailLines": "3"})
    with pytest.raises(errors.UnavailableError):
        assert [piece async for piece in client.follow_log("default", "p", "c")]


def kubeconfig(folder: Path, user: meta.Json) -> Path:
    """A kubeconfig file for one user."""
    path = folder / "kubeconfig"
    document = {
        "current-context": "c",
        "clusters": [{"name": "k", "cluster": {"server": "https://server.test"}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "team"}}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


def authorized(access: kube_wire.Access, wanted: list[str]) -> kube.KubeClient:
    """A client of a server that accepts one token alone, the last of the list."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.headers.get("Authorization") == f"Bearer {wanted[-1]}":
            return httpx.Response(200, json=config_map())
        return refusal(401, "Unauthorized")

    return kube.KubeClient(kube_wire.Wire(access, transport=httpx.MockTransport(answer)))


async def test_tokens_that_change(tmp_path: Path) -> None:
    """A token in the kubeconfig, or in a file that it names, is read again when the server refuses the old one."""
    token = tmp_path / "token"
    for user in ({"token": "old"}, {"tokenFile": str(token)}):
        path = kubeconfig(tmp_path, user)
        token.write_text("old")
        wanted = ["old"]
        client = authorized(kube_wire.read(path), wanted)
        assert await client.get(kinds.CONFIG_MAP, "default", "a")
        wanted.append("new")
        with pytest.raises(errors.ForbiddenError, match="credentials"):
            await client.get(kinds.CONFIG_MAP, "default", "a")
        token.write_text("new\n")
        kubeconfig(tmp_path, {**user, "token": "new"} if "token" in user else user)
        assert await client.get(kinds.CONFIG_MAP, "default", "a")


async def test_credential_plugins(tmp_path: Path) -> None:
    """A plugin of ``client.authentication.k8s.io/v1`` is asked for the token, and told what it is asked for."""
    plugin = tmp_path / "plugin"
    plugin.write_text('#!/bin/sh\necho "$KUBERNETES_EXEC_INFO" >&2\nprintf \'{"status": {"token": "from-plugin"}}\'\n')
    plugin.chmod(0o755)
    user = {
        "exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "interactiveMode": "Never"}
    }
    client = authorized(kube_wire.read(kubeconfig(tmp_path, user)), ["from-plugin"])
    assert await client.get(kinds.CONFIG_MAP, "default", "a")


@pytest.mark.parametrize("text", ["", "[]", "{", "a: 1", "current-context: x\nclusters: []\ncontexts: []"])
def test_bad_kubeconfigs(tmp_path: Path, text: str) -> None:
    """A file that is no kubeconfig is refused with its name, whatever is wrong with it."""
    path = tmp_path / "broken"
    path.write_text(text)
    with pytest.raises(errors.BadInputError, match="broken"):
        kube_wire.read(path)
    with pytest.raises(errors.BadInputError, match="missing"):
        kube_wire.read(tmp_path / "missing")
