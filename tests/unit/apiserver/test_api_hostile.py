"""Clients that are wrong, slow or hostile: always a Status, others unharmed."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from typing import Any

import pytest

from kuttab.apiserver import app, bodies, protocol
from served_api import EXPERIMENTS, KUBEFLOW, MAPS, TOKEN, Serve, Served, config_map, experiment

PATIENCE = 20


async def talk(port: int, *pieces: bytes) -> bytes:
    """Send bytes as they are, and read until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return await asyncio.wait_for(reader.read(), PATIENCE)
    finally:
        writer.close()


def status_of(answer: bytes) -> Any:
    """The Status of a raw answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status, _ = json.JSONDecoder().raw_decode(body.decode())
    assert status["kind"] == "Status"
    assert int(head.split()[1]) == status["code"]
    return status


HEAD = f"GET {MAPS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n".encode()


@pytest.mark.parametrize(
    "given",
    ["", "Bearer", "Bearer wrong", f"Bearer {TOKEN}x", f"bearer{TOKEN}", f"Token {TOKEN}", "Basic !!!", "Basic eDp5",
     "Bearer " + "x" * 5000, "Bearer \xe9"],
)  # fmt: skip
async def test_only_the_token_opens(api: Served, given: str) -> None:
    """Without the token nothing is told, not even what exists."""
    headers = {"Authorization": given.encode("latin-1")}
    for path in (MAPS, "/apis", "/version", "/openapi/v3", "/apis/kubeflow.org/v1beta1/nothing"):
        await api.refused("GET", path, 401, "Unauthorized", headers=headers)
    answer = await api.http.post(MAPS, json=config_map("m"), headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_token_opens(api: Served, scheme: str) -> None:
    """As bearer in any spelling, or as the password of Basic, which is how kubectl sends it over plain HTTP."""
    await api.json("GET", MAPS, headers={"Authorization": f"{scheme} {TOKEN}"})
    basic = base64.b64encode(f"kuttab:{TOKEN}".encode()).decode()
    await api.json("GET", MAPS, headers={"Authorization": f"Basic {basic}"})


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/", "//", "/api/v2", "/api/v1/nothing", "/apis/nobody", "/apis/nobody/v1", "/apis/batch/v2", "/apis/batch/v1/pods",
     f"{KUBEFLOW}/namespaces/default/experiments/e/scale", f"{KUBEFLOW}/namespaces/default/experiments/e/status/x",
     f"{KUBEFLOW}/experiments/e", "/api/v1/namespaces/default/namespaces", "/api/v1/namespaces//configmaps", f"{MAPS}//",
     "/api/v1/namespaces/default/configmaps/a%2Fb", f"{MAPS}/%00", f"{MAPS}/..%2F..%2Fetc", "/openapi/v2/x", "/openapi/v3/apis/x/v1",
     "/openapi", "/api/v1/namespaces/default/pods/p/exec", "/version/x", "/healthz/x", "/%F0%9F%98%80", f"{MAPS}/%F0%9F%98%80"],
)  # fmt: skip
async def test_unknown_paths(api: Served, path: str) -> None:
    """What is not there is NotFound."""
    await api.refused("GET", path, 404, "NotFound")


async def test_paths_that_are_no_text(api: Served) -> None:
    """Bytes that are no UTF-8 are a bad request."""
    await api.refused("GET", f"{MAPS}/%FF%FE", 400, "BadRequest")


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", MAPS), ("PATCH", MAPS), ("POST", f"{MAPS}/m"), ("OPTIONS", MAPS), ("TRACE", MAPS), ("BREW", MAPS), ("POST", "/apis"),
     ("DELETE", "/version"), ("POST", f"{EXPERIMENTS}/e/status"), ("DELETE", f"{EXPERIMENTS}/e/status"), ("POST", "/openapi/v3"),
     ("POST", "/healthz"), ("DELETE", "/api/v1/namespaces/default/pods/p/log")],
)  # fmt: skip
async def test_methods_that_a_path_lacks(api: Served, method: str, path: str) -> None:
    """A method that is not known there is 405, with those that are."""
    answer = await api.http.request(method, path)
    assert (answer.status_code, answer.json()["reason"]) == (405, "MethodNotAllowed")
    assert answer.headers["allow"]


async def test_head_is_get_without_a_body(api: Served) -> None:
    """HEAD tells whether something is there."""
    assert (await api.http.head(MAPS)).status_code == 200
    assert (await api.http.head(f"{MAPS}/nothing")).status_code == 404
    assert (await api.http.head(f"{MAPS}?watch=true")).status_code == 200


@pytest.mark.parametrize(
    "query",
    ["labelSelector=a%3D(", "labelSelector==", "labelSelector=a+in+b", "labelSelector=%00", "fieldSelector=x", "fieldSelector=spec.a%3D1",
     "limit=-1", "limit=many", "limit=99999999999", "continue=nonsense",
     "continue=W10", "continue=bnVsbA", "continue=Mw", "continue=%F0%9F%98%80",
     "resourceVersion=x", "watch=perhaps"],
)  # fmt: skip
async def test_bad_queries(api: Served, query: str) -> None:
    """Selectors, tokens and numbers that cannot be read are bad requests, never everything."""
    await api.json("POST", MAPS, 201, json=config_map("m"))
    await api.refused("GET", f"{MAPS}?{query}", 400, "BadRequest")
    if not query.startswith("watch"):
        await api.refused("DELETE", f"{MAPS}?{query}", 400, "BadRequest")
    assert len((await api.json("GET", MAPS))["items"]) == 1


@pytest.mark.parametrize(
    "body",
    [b"", b"   ", b"null", b"[]", b"3", b'"x"', b"{", b'{"a":1,}', b"{'a':1}", b'{"a":NaN}', b'{"a":1e999}',
     b'{"a":-1E400}', b'{"a":' + b"9" * 400 + b"}", b'{"a":"\\ud800"}',
     b"\xff\xfe{\x00}\x00", b"\x00", b'{"a":1}{"b":2}', b'{"metadata":{"name":"m","name":"n"}}', b"[" * 5000,
     b'{"a":' * 900 + b"1" + b"}" * 900,
     b"not json at all"],
)  # fmt: skip
async def test_bodies_that_are_no_object(api: Served, body: bytes) -> None:
    """A body that cannot be read, or could be read in two ways, is a bad request with the place."""
    for media in ("application/json", ""):
        await api.refused("POST", MAPS, 400, "BadRequest", content=body, headers={"Content-Type": media})
    assert (await api.json("GET", MAPS))["items"] == []


@pytest.mark.parametrize(
    "media", ["text/plain", "application/xml", "multipart/form-data", "application/json; charset=utf-16", "x"]
)
async def test_bodies_of_other_types(api: Served, media: str) -> None:
    """A body of a type that is not read is 415."""
    await api.refused("POST", MAPS, 415, "UnsupportedMediaType", content=b"{}", headers={"Content-Type": media})


@pytest.mark.parametrize(
    "body",
    [b"", b"k8s\x00", b"k8s\x01", b"k8s\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"k8s\x00\x0a\x7f", b"k8s\x00\x0f", b"{}",
     b"k8s\x00\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x05\x0a\x7fxxx", b"k8s\x00\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x02\x08\x01"],
)  # fmt: skip
async def test_protobuf_that_is_none(api: Served, body: bytes) -> None:
    """Broken protobuf is a bad request, or a kind that is not read."""
    headers = {"Content-Type": "application/vnd.kubernetes.protobuf"}
    answer = await api.http.post(MAPS, content=body, headers=headers)
    assert answer.status_code in (400, 415), answer.text
    assert answer.json()["kind"] == "Status"


async def test_too_large_bodies(api: Served) -> None:
    """Above 3 MiB a body is refused, also when it only unpacks to that; an object is refused above its own limit."""
    large = json.dumps(config_map("m", a="x" * (bodies.MAX_BYTES + 1))).encode()
    await api.refused("POST", MAPS, 413, "RequestEntityTooLarge", content=large)
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    await api.refused("POST", MAPS, 413, "RequestEntityTooLarge", content=gzip.compress(large), headers=headers)
    await api.refused("POST", MAPS, 413, "RequestEntityTooLarge", json=config_map("m", a="x" * 1_600_000))
    await api.json("GET", MAPS)


@pytest.mark.parametrize(
    "body",
    [b"", b"not gzip", gzip.compress(b"{}")[:-4], gzip.compress(b"{}") + b"more", gzip.compress(b"[1")],
    ids=["empty", "other", "cut", "more", "no JSON"],
)
async def test_bad_gzip(api: Served, body: bytes) -> None:
    """A body that is not the gzip it says it is, cut off or followed by more, is a bad request."""
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    await api.refused("POST", MAPS, 400, "BadRequest", content=body, headers=headers)


async def test_other_encodings(api: Served) -> None:
    """An encoding that is not read is 415."""
    await api.refused("POST", MAPS, 415, "UnsupportedMediaType", content=b"{}", headers={"Content-Encoding": "br"})


async def test_a_bomb_is_not_unpacked(api: Served) -> None:
    """A small body that unpacks to twenty megabytes is refused after three."""
    bomb = gzip.compress(b" " * 20_000_000)
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    await api.refused("POST", MAPS, 413, "RequestEntityTooLarge", content=bomb, headers=headers)


async def test_deep_objects(api: Served) -> None:
    """Nesting is bounded for built-in kinds too."""
    deep: Any = 1
    for _ in range(150):
        deep = {"a": deep}
    await api.refused("POST", MAPS, 422, "Invalid", json={"metadata": {"name": "m"}, "data": deep})


async def test_long_urls_and_heads(api: Served) -> None:
    """Long URLs are 414, longer heads 400; the connection of others goes on."""
    await api.refused("GET", f"{MAPS}?labelSelector={'a' * 20_000}", 414, "BadRequest")
    answer = await talk(api.port, HEAD + b"X-Long: " + b"a" * 200_000 + b"\r\n\r\n")
    assert status_of(answer)["code"] == 400
    await api.json("GET", MAPS)


@pytest.mark.parametrize("first", [b"hello\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                                   b"GET  / HTTP/1.1\r\n\r\n", b"\x00" * 100 + b"\r\n\r\n"])  # fmt: skip
async def test_what_is_no_http(api: Served, first: bytes) -> None:
    """TLS, HTTP/2 and noise get one plain refusal."""
    assert status_of(await talk(api.port, first))["code"] in (400, 401)


async def test_slow_heads(serve: Serve) -> None:
    """A head that dribbles in is given up, and so is a connection that says nothing; others are served meanwhile."""
    async with serve(sockets=protocol.Limits(head_seconds=0.3)) as api:
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        silent = asyncio.ensure_future(talk(api.port))
        for letter in HEAD[:20]:
            writer.write(bytes([letter]))
            await asyncio.sleep(0.01)
        await api.json("GET", MAPS)
        assert status_of(await asyncio.wait_for(reader.read(), PATIENCE))["code"] == 408
        assert status_of(await silent)["code"] == 408
        writer.close()


async def test_slow_bodies(serve: Serve) -> None:
    """A body that does not come is given up; others are served meanwhile."""
    limits = app.Limits(body=bodies.Limits(seconds=0.3))
    async with serve(limits=limits) as api:
        head = HEAD.replace(b"GET", b"POST", 1) + b"Content-Length: 100\r\nContent-Type: application/json\r\n\r\n"
        slow = asyncio.ensure_future(talk(api.port, head + b"{"))
        await api.json("GET", MAPS)
        assert status_of(await slow)["code"] == 408


async def test_a_body_that_breaks_off(api: Served) -> None:
    """A client that leaves in the middle of its body writes nothing and harms nobody."""
    head = HEAD.replace(b"GET", b"POST", 1) + b"Content-Length: 5000\r\nContent-Type: application/json\r\n\r\n"
    _, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(head + json.dumps(config_map("m")).encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await api.json("GET", MAPS))["items"] == []


async def test_only_so_many_connections(serve: Serve) -> None:
    """Beyond the limit a connection is told to come again; those that are open go on."""
    async with serve(sockets=protocol.Limits(connections=3)) as api:
        await api.json("GET", MAPS)
        others = [await asyncio.open_connection("127.0.0.1", api.port) for _ in range(2)]
        await asyncio.sleep(0.05)
        assert status_of(await talk(api.port))["code"] == 429
        await api.json("GET", MAPS)
        for _, writer in others:
            writer.close()


async def test_pipelined_requests(api: Served) -> None:
    """Requests that come together are answered in order."""
    first = HEAD.replace(b"Connection: close\r\n", b"") + b"\r\n"
    answer = await talk(api.port, first + HEAD.replace(MAPS.encode(), b"/version") + b"\r\n")
    assert answer.count(b"HTTP/1.1 200") == 2
    assert answer.index(b"ConfigMapList") < answer.index(b"gitVersion")


async def test_a_fault_of_ours_is_no_traceback(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever breaks inside, the client gets a Status that tells nothing of it."""

    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(api.objects, "get", broken)
    status = await api.refused("GET", f"{MAPS}/m", 500, "InternalError")
    assert "secret" not in json.dumps(status)


async def test_warnings_fit_into_a_header(api: Served) -> None:
    """Field names of any letters come back as one line of ASCII."""
    bad = experiment(**{'x"\r\nSet-Cookie: a=\\ü😀': 1})
    answer = await api.http.post(EXPERIMENTS + "?fieldValidation=Warn", json=bad)
    assert answer.status_code == 201
    assert "set-cookie" not in answer.headers
    assert answer.headers["warning"].isascii()


async def test_a_thousand_bad_requests_leave_nothing(api: Served) -> None:
    """Refusals leave no object, no stream and no connection behind."""

    async def bad(number: int) -> None:
        await api.http.post(MAPS, content=b"{" * number)
        await api.http.get(f"{MAPS}?labelSelector={'(' * number}")

    for start in range(0, 200, 20):
        await asyncio.gather(*(bad(number) for number in range(start, start + 20)))
    assert (await api.json("GET", MAPS))["items"] == []
    assert api.app.streams.open == 0
