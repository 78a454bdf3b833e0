"""Answers: JSON bytes with the headers that Kubernetes sends, warnings among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from kuttab.api import meta
from kuttab.apiserver import statuses
from kuttab.base import errors, json_text

JSON = "application/json"
_MAX_WARNINGS = 50
_MAX_WARNING = 400


def document(value: Any, code: int = 200, *, warnings: Sequence[str] = (), media: str = JSON) -> Response:
    """A JSON value."""
    return raw(json_text.dumps(value), code, warnings=warnings, media=media)


def obj(subject: meta.Object, code: int = 200, *, warnings: Sequence[str] = ()) -> Response:
    """An object as it is stored."""
    return raw(meta.dump_bytes(subject), code, warnings=warnings)


def raw(
    body: bytes,
    code: int = 200,
    *,
    warnings: Sequence[str] = (),
    media: str = JSON,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """JSON bytes."""
    answer = Response(body, code, headers=headers, media_type=None)
    answer.headers["content-type"] = media
    answer.headers["cache-control"] = "no-cache, private"
    for text in warnings[:_MAX_WARNINGS]:
        answer.headers.append("warning", f'299 - "{_quoted(text)}"')
    return answer


def error(problem: errors.KuttabError, status: meta.Json | None = None) -> Response:
    """The Status of an error."""
    headers = problem.headers if isinstance(problem, statuses.HttpError) else None
    code = statuses.code_of(problem)
    return raw(json_text.dumps(status or statuses.failure(problem)), code, headers=headers)


def _quoted(text: str) -> str:
    """Text for a header: one line of ASCII, quotes escaped."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text[:_MAX_WARNING])
    safe = plain.encode("ascii", "backslashreplace").decode()
    return safe.replace("\\", "\\\\").replace('"', '\\"')
