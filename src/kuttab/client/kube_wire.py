"""Requests to an API server: kubeconfig, credentials, connections, time limits, retries that cannot do harm.

The one home of lightkube, which reads kubeconfigs, and of httpx2, which it brings; lightkube's own verbs offer neither delete
preconditions nor pages of a list, so the verbs are ours (``client.kube``). Knows no kind of object.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import socket
import ssl
from collections.abc import AsyncIterator, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
import msgspec
import yaml
from lightkube.config import client_adapter, kubeconfig, models
from lightkube.core import exceptions

from kuttab.__about__ import __version__
from kuttab.base import errors, json_text, log
from kuttab.client import kube_status

logger = log.get(__name__)

CONNECT = 5.0
"""Seconds until a connection is given up."""
ANSWER = 60.0
"""Seconds without a byte of an answer."""
TRIES = 5
WAIT_MOST = 30.0
"""Seconds of a server's ``Retry-After`` that are honoured; a longer one goes to the caller as UnavailableError."""
_UNUSABLE = (
    exceptions.ConfigError, OSError, yaml.YAMLError, msgspec.ValidationError, ValueError, KeyError, TypeError, AttributeError,
)  # fmt: skip
"""What lightkube raises over a file that is no kubeconfig."""
_EXEC = "client.authentication.k8s.io/"

Params = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Access:
    """Where the API server is and how it is talked to; ``namespace`` is the one of the kubeconfig's context."""

    url: str
    namespace: str
    verify: ssl.SSLContext
    auth: httpx.Auth | None


def read(path: Path | None = None, context: str | None = None) -> Access:
    """Access by a kubeconfig; without path as kubectl finds it: the pod's service account, ``KUBECONFIG``, ``~/.kube/config``.

    Raises BadInputError, naming the file.
    """
    try:
        config = (kubeconfig.KubeConfig.from_file(path) if path else kubeconfig.KubeConfig.from_env()).get(context)
        assert config is not None
        user = _modern(config.user) if config.user is not None else None
        auth = client_adapter.user_auth(user)
        if user is not None and user.token is not None and user.token_file is None and config.fname is not None:
            auth = _Token(config.fname, context, user.token)
        verify = client_adapter.verify_cluster(config.cluster, user or models.User(), config.abs_file, trust_env=False)
    except _UNUSABLE as problem:
        raise errors.BadInputError(f"kubeconfig {path or 'of this environment'} cannot be used: {problem}") from problem
    return Access(config.cluster.server, config.namespace, verify, auth)


def of(url: str, token: str = "", authority: Path | None = None, namespace: str = "default") -> Access:
    """Access by an address and a bearer token; ``authority`` is the file of the certificate that signed the server's.

    Raises BadInputError.
    """
    if not url.startswith(("http://", "https://")):
        raise errors.BadInputError(f"url: expected http://HOST:PORT or https://HOST:PORT, got {url!r}")
    user = models.User(token=token or None)
    cluster = models.Cluster(server=url, certificate_auth=str(authority) if authority else None)
    try:
        verify = client_adapter.verify_cluster(cluster, user, lambda name: name, trust_env=False)
    except _UNUSABLE as problem:
        raise errors.BadInputError(f"certificate authority {authority} cannot be used: {problem}") from problem
    return Access(url, namespace, verify, client_adapter.user_auth(user))


class Wire:
    """Connections to one API server. ``requests`` counts what was sent, by what the caller named it."""

    def __init__(self, access: Access, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """``transport`` replaces the network, for tests."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20, keepalive_expiry=30.0)
        made = transport or httpx.AsyncHTTPTransport(
            verify=access.verify, limits=limits, socket_options=_keepalive(), trust_env=False
        )
        self._http = httpx.AsyncClient(
            base_url=access.url,
            auth=access.auth,
            transport=made,
            trust_env=False,
            timeout=httpx.Timeout(ANSWER, connect=CONNECT),
            headers={"User-Agent": f"kuttab/{__version__}", "Accept": "application/json"},
        )
        self.requests: collections.Counter[str] = collections.Counter()

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def call(
        self,
        label: str,
        method: str,
        path: str,
        params: Params | None = None,
        body: bytes | None = None,
        media: str = "",
    ) -> Any:
        """The JSON answer. What certainly had no effect is sent again: 429, and reads whose answer was lost.

        A write whose answer was lost raises DeadlineError: the caller looks, then decides again.
        """
        headers = {"Content-Type": media or "application/json"} if body is not None else {}
        for left in range(TRIES - 1, -1, -1):
            self.requests[label] += 1
            try:
                answer = await self._http.request(method, path, params=params, content=body, headers=headers)
            except (httpx.HTTPError, OSError, exceptions.ConfigError) as problem:
                if (
                    method == "GET"
                    and left == TRIES - 1
                    and isinstance(problem, httpx.NetworkError | httpx.ProtocolError)
                ):
                    continue  # a kept connection that the server had just closed
                raise _lost(problem, method, path) from problem
            document = _json(answer.content)
            if answer.is_success:
                if document is None:
                    raise errors.BrokenAnswerError(f"{method} {path}: the answer is no JSON: {answer.text[:200]}")
                return document
            wait = self._patience(method, answer, document)
            if wait is None or not left:
                raise kube_status.error_of(answer.status_code, document, answer.text)
            logger.info("server_busy", path=path, code=answer.status_code, again_in=wait)
            await asyncio.sleep(wait)
        raise AssertionError("unreachable")

    @contextlib.asynccontextmanager
    async def stream(
        self, label: str, path: str, params: Params, *, silence: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The pieces of a long answer; ``silence`` seconds without one mean that the connection is dead.

        Reading raises UnavailableError when the connection breaks before the answer's proper end.
        """
        self.requests[label] += 1
        timeout = httpx.Timeout(CONNECT, connect=CONNECT, read=silence)
        try:
            async with self._http.stream("GET", path, params=params, timeout=timeout) as answer:
                if not answer.is_success:
                    await answer.aread()
                    raise kube_status.error_of(answer.status_code, _json(answer.content), answer.text)
                async with contextlib.aclosing(answer.aiter_bytes()) as pieces:
                    yield pieces
        except (httpx.HTTPError, httpx.StreamError, OSError, exceptions.ConfigError) as problem:
            raise _lost(problem, "GET", path) from problem

    def _patience(self, method: str, answer: httpx.Response, document: object) -> float | None:
        """Seconds to wait before sending the same again; None when it must not, or is not worth it."""
        if answer.status_code != 429 and not (method == "GET" and answer.status_code in (500, 503, 504)):
            return None
        wait = kube_status.wait_of(answer.headers, document)
        if answer.status_code == 429:
            wait = 1.0 if wait is None else wait
        return wait if wait is not None and wait <= WAIT_MOST else None


class _Token(httpx.Auth):
    """The bearer token of a kubeconfig, read again when the server does not accept it any more."""

    def __init__(self, path: Path, context: str | None, token: str) -> None:
        self._path, self._context, self._token = path, context, token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """See httpx."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        answer = yield request
        if answer.status_code != 401:
            return
        found = kubeconfig.KubeConfig.from_file(self._path).get(self._context)
        fresh = found.user.token if found is not None and found.user is not None else None
        if fresh and fresh != self._token:
            self._token = fresh
            request.headers["Authorization"] = f"Bearer {fresh}"
            yield request


def _modern(user: models.User) -> models.User:
    """The user with credential plugins of v1, which answer as those of v1beta1 do but want to be told what they are asked."""
    plugin = user.exec
    if plugin is None or plugin.apiVersion != _EXEC + "v1":
        return user
    info = {"apiVersion": plugin.apiVersion, "kind": "ExecCredential", "spec": {"interactive": False}}
    env = [*(plugin.env or ()), models.NameValue("KUBERNETES_EXEC_INFO", json.dumps(info))]
    old = models.UserExec(_EXEC + "v1beta1", plugin.command, env, plugin.args, plugin.installHint)
    return msgspec.structs.replace(user, exec=old)


def _keepalive() -> list[tuple[int, int, int]]:
    """The kernel notices within about a minute that the other side is gone without a word."""
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return options


def _json(content: bytes) -> Any:
    try:
        return json_text.loads(content)
    except ValueError:
        return None


def _lost(problem: Exception, method: str, path: str) -> errors.UnavailableError:
    what = str(problem) or type(problem).__name__
    if isinstance(problem, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | exceptions.ConfigError):
        return errors.UnavailableError(f"the API server cannot be reached: {what}")
    if method == "GET":
        return errors.UnavailableError(f"GET {path}: the answer was lost: {what}")
    return errors.DeadlineError(f"{method} {path}: the answer was lost, the effect is unknown: {what}")
