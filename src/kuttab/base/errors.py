"""The one error tree; each class says what the world should do about it.

::

    KuttabError
    ├── BadInputError              the user's input cannot be accepted
    │   └── InvalidError           ... with a list of problems, each at a field path
    ├── ObjectError                an answer of the object store, in Kubernetes' words
    │   ├── NotFoundError          404
    │   ├── AlreadyExistsError     409, on create
    │   ├── ConflictError          409, on a stale resourceVersion or a failed precondition
    │   ├── ExpiredError           410, the wanted revision was compacted away
    │   ├── ForbiddenError         403
    │   └── TooLargeError          413
    ├── UnavailableError           a part of the world is away for now; try again
    │   └── DeadlineError          ... because it did not answer in time
    ├── RefusedError               a service refused for good, with an attributable cause
    ├── BrokenAnswerError          a service answered against its contract
    ├── LockedError                another process owns the data folder
    └── CorruptError               a file is not what it should be; it is left untouched

Retry verdict: only ``permanent`` errors may end a trial or an experiment; everything else is tried again with backoff.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


class KuttabError(Exception):
    """Root of every error that kuttab raises on purpose."""

    reason: ClassVar[str] = "InternalError"
    http_code: ClassVar[int] = 500
    grpc_code: ClassVar[str] = "INTERNAL"
    permanent: ClassVar[bool] = False

    @property
    def message(self) -> str:
        """The sentence for people."""
        return str(self.args[0]) if self.args else type(self).__name__


class BadInputError(KuttabError):
    """The user's input cannot be accepted; the message says what to change."""

    reason = "BadRequest"
    http_code = 400
    grpc_code = "INVALID_ARGUMENT"
    permanent = True


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with an object.

    ``path`` is a field path such as ``spec.parameters[2].feasibleSpace.max``; ``reason`` is a Kubernetes cause
    (``FieldValueRequired``, ``FieldValueInvalid``, ``FieldValueNotSupported``, ``FieldValueDuplicate``,
    ``FieldValueForbidden``); ``line`` and ``column`` count from 1 and are known only for files.
    """

    path: str
    message: str
    reason: str = "FieldValueInvalid"
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class InvalidError(BadInputError):
    """An object breaks rules; carries every problem found, not only the first."""

    reason = "Invalid"
    http_code = 422

    def __init__(self, problems: list[Problem], subject: str = "") -> None:
        self.problems = list(problems)
        self.subject = subject
        head = f"{subject} is invalid: " if subject else ""
        super().__init__(head + "; ".join(str(problem) for problem in self.problems))


class ObjectError(KuttabError):
    """An answer of the object store."""


class NotFoundError(ObjectError):
    """No object of that name."""

    reason = "NotFound"
    http_code = 404
    grpc_code = "NOT_FOUND"


class AlreadyExistsError(ObjectError):
    """An object of that name is there already."""

    reason = "AlreadyExists"
    http_code = 409
    grpc_code = "ALREADY_EXISTS"


class ConflictError(ObjectError):
    """The object changed since it was read, or a precondition failed: read again and decide again."""

    reason = "Conflict"
    http_code = 409
    grpc_code = "ABORTED"


class ExpiredError(ObjectError):
    """The wanted revision is gone: list again."""

    reason = "Expired"
    http_code = 410
    grpc_code = "OUT_OF_RANGE"


class ForbiddenError(ObjectError):
    """The caller may not do this (now)."""

    reason = "Forbidden"
    http_code = 403
    grpc_code = "PERMISSION_DENIED"


class TooLargeError(ObjectError):
    """The object is larger than the store takes."""

    reason = "RequestEntityTooLarge"
    http_code = 413
    grpc_code = "RESOURCE_EXHAUSTED"
    permanent = True


class UnavailableError(KuttabError):
    """A part of the world is away for now."""

    reason = "ServiceUnavailable"
    http_code = 503
    grpc_code = "UNAVAILABLE"


class DeadlineError(UnavailableError):
    """No answer within the deadline; the effect may or may not have happened."""

    reason = "Timeout"
    http_code = 504
    grpc_code = "DEADLINE_EXCEEDED"


class RefusedError(KuttabError):
    """A service refused for good and said why."""

    reason = "Refused"
    http_code = 422
    grpc_code = "INVALID_ARGUMENT"
    permanent = True


class BrokenAnswerError(KuttabError):
    """A service answered against its contract; nothing of the answer was used."""

    reason = "BrokenAnswer"
    http_code = 502
    grpc_code = "INTERNAL"


class LockedError(KuttabError):
    """Another process owns the data folder."""

    reason = "Locked"
    http_code = 409
    grpc_code = "FAILED_PRECONDITION"


class CorruptError(KuttabError):
    """A file is not what it should be; it was left untouched."""

    reason = "Corrupt"
    grpc_code = "DATA_LOSS"
