"""What an API server's refusal means, as one of our errors. Pure: a code and a Status document in, an error out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kuttab.base import errors

_PLAIN: Mapping[str, type[errors.KuttabError]] = {
    "NotFound": errors.NotFoundError,
    "AlreadyExists": errors.AlreadyExistsError,
    "Conflict": errors.ConflictError,
    "Expired": errors.ExpiredError,
    "Gone": errors.ExpiredError,
    "Forbidden": errors.ForbiddenError,
    "Unauthorized": errors.ForbiddenError,
    "RequestEntityTooLarge": errors.TooLargeError,
    "BadRequest": errors.BadInputError,
    "MethodNotAllowed": errors.BadInputError,
    "NotAcceptable": errors.BadInputError,
    "UnsupportedMediaType": errors.BadInputError,
    "Timeout": errors.DeadlineError,
    "ServerTimeout": errors.DeadlineError,
    "TooManyRequests": errors.UnavailableError,
    "ServiceUnavailable": errors.UnavailableError,
    "InternalError": errors.UnavailableError,
}

_BY_CODE: Mapping[int, type[errors.KuttabError]] = {
    400: errors.BadInputError,
    401: errors.ForbiddenError,
    403: errors.ForbiddenError,
    404: errors.NotFoundError,
    405: errors.BadInputError,
    406: errors.BadInputError,
    408: errors.DeadlineError,
    409: errors.ConflictError,
    410: errors.ExpiredError,
    413: errors.TooLargeError,
    415: errors.BadInputError,
    429: errors.UnavailableError,
    504: errors.DeadlineError,
}

_TOO_LARGE = ("etcdserver: request is too large", "trying to send message larger than max")
_LONGEST = 2_000


def error_of(code: int, document: object, text: str = "") -> errors.KuttabError:
    """The error for an answer with that HTTP code.

    ``document`` is the parsed body if it was JSON; ``text`` what to say when that is no Status. A server's own failure (5xx) is
    UnavailableError: it says nothing about what was asked, so asking again is right.
    """
    status = document if isinstance(document, Mapping) and document.get("kind") == "Status" else {}
    message = str(status.get("message") or text.strip()[:_LONGEST] or f"the API server answered {code}")
    code = _code(status, code)
    reason = str(status.get("reason") or "")
    if reason == "Invalid" or (code == 422 and reason not in _PLAIN):
        return _invalid(status, message)
    if any(mark in message for mark in _TOO_LARGE):
        return errors.TooLargeError(message)
    cls = _PLAIN.get(reason) or _BY_CODE.get(code)
    if cls is None:
        cls = errors.BadInputError if 400 <= code < 500 else errors.UnavailableError
    if cls is errors.ForbiddenError and code == 401:
        message = f"the API server does not accept our credentials ({message}); renew those of the kubeconfig"
    return cls(message)


def wait_of(headers: Mapping[str, str], document: object) -> float | None:
    """Seconds after which the server wants to be asked again, if it said so."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal() and len(text) < 7:
        return float(text)
    details = document.get("details") if isinstance(document, Mapping) else None
    seconds = details.get("retryAfterSeconds") if isinstance(details, Mapping) else None
    return float(seconds) if isinstance(seconds, int) and seconds > 0 else None


def _code(status: Mapping[str, Any], code: int) -> int:
    own = status.get("code")
    return own if isinstance(own, int) and own >= 400 else code


def _invalid(status: Mapping[str, Any], message: str) -> errors.InvalidError:
    details = status.get("details")
    details = details if isinstance(details, Mapping) else {}
    subject = " ".join(str(details[key]) for key in ("kind", "name") if details.get(key))
    found = details.get("causes")
    problems = [
        errors.Problem(
            str(cause.get("field") or ""),
            str(cause.get("message") or message),
            str(cause.get("reason") or "FieldValueInvalid"),
        )
        for cause in (found if isinstance(found, list) else ())
        if isinstance(cause, Mapping)
    ]
    return errors.InvalidError(problems or [errors.Problem("", message)], subject)
