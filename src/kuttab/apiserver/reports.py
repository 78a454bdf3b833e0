"""Reports of trials over HTTP, for programs that have ``curl`` and no Python: an application with one path, and nothing of Kubernetes.

``POST`` takes metrics as a form or as JSON and says what became of them and whether the trial shall stop; ``GET`` says only that. The path
itself is the proof that a caller may report. It stores and judges nothing.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any, Final, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from kuttab.apiserver import answers, bodies, statuses
from kuttab.base import errors, json_text, log
from kuttab.rules import reported

logger = log.get(__name__)

FORM: Final = "application/x-www-form-urlencoded"
MAX_BYTES: Final = 1024 * 1024
"""Bytes of a body, also after decompression."""
BODY_SECONDS: Final = 10.0
"""Time for a body to arrive."""
_AT_ONCE: Final = 32 * 1024  # bytes that are parsed without a thread: a millisecond's work
_PATH: Final = re.compile(rb"/report/([0-9A-Za-z.-]{1,128})")
_KEY: Final = re.compile(r"[!-~]{1,255}")


class Attempts(Protocol):
    """Running attempts of trials, each behind a token of its own."""

    async def admit(self, token: str) -> str:
        """The pod that a token is for, once it may report again; NotFoundError for a token that is none."""
        ...

    async def take(self, pod_uid: str, found: Sequence[reported.Report], key: str = "") -> reported.Taken:
        """Store what is new; see :meth:`kuttab.node.reports.Reports.take`."""
        ...

    async def should_stop(self, pod_uid: str) -> bool:
        """Whether the trial shall stop."""
        ...


class Reports:
    """The ASGI application."""

    def __init__(self, attempts: Attempts) -> None:
        self._attempts = attempts
        self._bodies = bodies.Bodies(bodies.Limits(MAX_BYTES, BODY_SECONDS))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        try:
            answer = _answer(await self._work(Request(scope, receive)))
        except errors.KuttabError as error:
            answer = _refusal(error)
        except Exception:
            logger.exception("report_failed", method=scope["method"])
            answer = _answer({"error": "the server has a fault; its log has the details"}, 500)
        await answer(scope, receive, send)

    async def _work(self, request: Request) -> dict[str, Any]:
        raw_path: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
        found = _PATH.fullmatch(raw_path)
        if found is None:
            raise errors.NotFoundError("nothing is here; the address to report to is in KUTTAB_REPORT_URL")
        if request.method not in ("GET", "HEAD", "POST"):
            raise statuses.bad_method(request.method, ["GET", "HEAD", "POST"])
        pod = await self._attempts.admit(found[1].decode())
        if request.scope["query_string"]:
            raise errors.BadInputError("metrics are read from the body, not from behind '?'; leave out curl's -G")
        if request.method != "POST":
            return {"shouldStop": await self._attempts.should_stop(pod)}
        taken = await self._attempts.take(pod, await self._reports(request), _key(request))
        said: dict[str, Any] = {"shouldStop": taken.stop, "stored": taken.stored, "repeated": taken.repeated}
        return said | ({"ignored": taken.ignored} if taken.ignored else {})

    async def _reports(self, request: Request) -> list[reported.Report]:
        media = bodies.media_type(request)
        if media not in ("", FORM, bodies.JSON):
            raise statuses.bad_media(
                f"a body of the type {media[:80]!r} is not read here; send a form (curl -d) or JSON (curl --json)"
            )
        raw, as_json = await self._bodies.raw(request), media == bodies.JSON
        if len(raw) <= _AT_ONCE:
            return reported.parse(raw, as_json=as_json)
        return await asyncio.to_thread(reported.parse, raw, as_json=as_json)


def _key(request: Request) -> str:
    key = request.headers.get("idempotency-key", "")
    if key and not _KEY.fullmatch(key):
        raise errors.BadInputError("an Idempotency-Key has 1 to 255 letters, digits and signs of ASCII, without blanks")
    return key


def _answer(said: dict[str, Any], code: int = 200) -> Response:
    # curl prints it into the trial's output, which is read for lines like name=number: no answer may look like one.
    return answers.raw(json_text.dumps(said).replace(b"=", b"\\u003d") + b"\n", code)


def _refusal(error: errors.KuttabError) -> Response:
    answer = _answer({"error": error.message}, statuses.code_of(error))
    if isinstance(error, statuses.HttpError):
        answer.headers.update(error.headers)
    return answer
