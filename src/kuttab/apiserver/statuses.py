"""Errors as Kubernetes tells them: the Status object, its causes, and the HTTP code.

Every answer that is no success goes through here, so that a client always gets a reason to act on and a sentence to read, and nobody
ever gets a traceback.
"""

from __future__ import annotations

from collections.abc import Mapping

from kuttab.api import kinds, meta
from kuttab.base import errors

_SHOWN_CAUSES = 200


class HttpError(errors.KuttabError):
    """A refusal that only HTTP knows: of a method, a content type, a caller."""

    def __init__(self, code: int, reason: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.word = reason
        self.headers = dict(headers or {})


def unauthorized() -> HttpError:
    """401: no token, or not ours."""
    message = (
        "a bearer token is needed: use the kubeconfig that kuttab serve wrote, or the file 'token' in its data folder"
    )
    return HttpError(401, "Unauthorized", message, {"WWW-Authenticate": 'Bearer realm="kuttab"'})


def unknown_path(path: str) -> HttpError:
    """404: a path that this server does not have."""
    return HttpError(404, "NotFound", f"the server could not find the requested resource: {path[:200]}")


def bad_method(method: str, allowed: list[str]) -> HttpError:
    """405: a path that is there, by a method that it does not know."""
    message = f"{method[:20]} is not supported here, only {', '.join(allowed)}"
    return HttpError(405, "MethodNotAllowed", message, {"Allow": ", ".join(allowed)})


def bad_media(message: str) -> HttpError:
    """415: a body of a type that is not read here."""
    return HttpError(415, "UnsupportedMediaType", message)


def not_acceptable(message: str) -> HttpError:
    """406: an answer in a form that is not written here."""
    return HttpError(406, "NotAcceptable", message)


def too_large(message: str) -> HttpError:
    """413: more bytes than are read."""
    return HttpError(413, "RequestEntityTooLarge", message, {"Connection": "close"})


def busy(message: str) -> HttpError:
    """429: come again in a second."""
    return HttpError(429, "TooManyRequests", message, {"Retry-After": "1"})


def code_of(error: errors.KuttabError) -> int:
    """The HTTP code of an error."""
    return error.code if isinstance(error, HttpError) else error.http_code


def failure(error: errors.KuttabError, kind: kinds.Kind | None = None, name: str = "") -> meta.Json:
    """The Status object of an error about an object of that kind and name."""
    code = code_of(error)
    if kind is not None and not name and isinstance(error, errors.InvalidError):
        word, _, rest = error.subject.partition(" ")
        name = rest.strip("'") if word == kind.kind else ""  # of an object that was to be created
    status: meta.Json = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": _message(error, kind, name),
        "reason": error.word if isinstance(error, HttpError) else error.reason,
        "code": code,
    }
    details: meta.Json = {}
    if kind is not None:
        details = {key: value for key, value in (("name", name), ("group", kind.group), ("kind", kind.plural)) if value}
    if isinstance(error, errors.InvalidError):
        causes = [_cause(problem) for problem in error.problems[:_SHOWN_CAUSES]]
        details |= {"causes": causes} if causes else {}
        if kind is not None:
            details["kind"] = kind.kind
    if code in (429, 503, 504):
        details["retryAfterSeconds"] = 1
    if details:
        status["details"] = details
    return status


def success(kind: kinds.Kind, name: str, uid: str) -> meta.Json:
    """The Status object of a deletion that is done."""
    details = {"name": name, "group": kind.group, "kind": kind.plural, "uid": uid}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {key: value for key, value in details.items() if value},
    }


def fault() -> meta.Json:
    """The Status object of a fault of ours; its cause is in the log, not in the answer."""
    message = "the server has a fault; its log has the details"
    return failure(HttpError(500, "InternalError", message))


def _message(error: errors.KuttabError, kind: kinds.Kind | None, name: str) -> str:
    where = "" if kind is None else f"{kind.plural}.{kind.group}" if kind.group else kind.plural
    if isinstance(error, errors.NotFoundError) and kind is not None and name and repr(name) in error.message:
        return f'{where} "{name}" not found'
    if isinstance(error, errors.AlreadyExistsError) and kind is not None and name and repr(name) in error.message:
        return f'{where} "{name}" already exists'
    return error.message


def _cause(problem: errors.Problem) -> meta.Json:
    cause = {"reason": problem.reason, "message": problem.message}
    return {**cause, "field": problem.path} if problem.path else cause
