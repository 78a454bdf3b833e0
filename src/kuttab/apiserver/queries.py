"""The query of a request as typed options; what cannot be read is refused with the parameter's name.

Parameters that Kubernetes has and that change nothing here (``fieldManager``, ``pretty``) are accepted; unknown ones are ignored, as
every API server does. A text or a number that is empty (``limit=``) is one that was not given; a flag that is empty (``?watch``) is set,
as in Kubernetes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kuttab.api import meta
from kuttab.base import errors
from kuttab.ports import objects as port

FIELD_VALIDATION = ("Ignore", "Warn", "Strict")
VERSION_MATCHES = ("", "NotOlderThan", "Exact")
_TRUE, _FALSE = ("true", "1", "t"), ("false", "0", "f")
MAX_SECONDS = 1 << 31


def flag(query: Mapping[str, str], name: str, default: bool = False) -> bool:
    """A yes or no, yes when it is there without a value; BadInputError."""
    text = query.get(name)
    if text is None:
        return default
    if text == "" or text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise errors.BadInputError(f"{name}={text[:40]}: write true or false")


def whole(query: Mapping[str, str], name: str) -> int | None:
    """A whole number that is not negative, None when absent or empty; BadInputError."""
    text = query.get(name)
    if text is None or text == "":
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 11 and int(text) < MAX_SECONDS):
        raise errors.BadInputError(f"{name}={text[:40]}: write a whole number from 0 to {MAX_SECONDS - 1}")
    return int(text)


@dataclass(frozen=True, slots=True)
class Write:
    """Options of create, update and patch."""

    dry_run: bool = False
    strict: bool = True
    quiet: bool = False
    """Whether warnings about unknown fields are not wanted."""

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Write:
        """From a query. Without ``fieldValidation`` unknown fields are refused, as everywhere in kuttab."""
        mode = query.get("fieldValidation") or "Strict"
        if mode not in FIELD_VALIDATION:
            raise unsupported("fieldValidation", mode, FIELD_VALIDATION)
        return cls(dry_run(query.get("dryRun", "")), mode == "Strict", mode == "Ignore")


@dataclass(frozen=True, slots=True)
class Read:
    """Options of list and watch."""

    labels: str = ""
    fields: str = ""
    limit: int = 0
    token: str = ""
    version: str = ""
    match: str = ""
    watch: bool = False
    bookmarks: bool = False
    initial: bool | None = None
    timeout: int | None = None

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Read:
        """From a query; BadInputError, InvalidError for options that contradict each other."""
        made = cls(
            labels=query.get("labelSelector", ""),
            fields=query.get("fieldSelector", ""),
            limit=whole(query, "limit") or 0,
            token=query.get("continue", ""),
            version=query.get("resourceVersion", ""),
            match=query.get("resourceVersionMatch", ""),
            watch=flag(query, "watch"),
            bookmarks=flag(query, "allowWatchBookmarks"),
            initial=flag(query, "sendInitialEvents") if "sendInitialEvents" in query else None,
            timeout=whole(query, "timeoutSeconds"),
        )
        made._check()
        return made

    def _check(self) -> None:
        if self.version and not (self.version.isascii() and self.version.isdecimal()):
            raise errors.BadInputError(
                f"resourceVersion {self.version[:80]!r} is not one of this server; take it from an object or a list"
            )
        if self.match not in VERSION_MATCHES:
            raise unsupported("resourceVersionMatch", self.match, VERSION_MATCHES[1:])
        problems = []
        if self.initial is not None and not self.watch:
            problems.append(errors.Problem("sendInitialEvents", "is only for watches", "FieldValueForbidden"))
        elif self.initial is not None and self.match != "NotOlderThan":
            message = "sendInitialEvents needs resourceVersionMatch=NotOlderThan"
            problems.append(errors.Problem("resourceVersionMatch", message, "FieldValueForbidden"))
        elif self.initial and not self.bookmarks:
            message = "sendInitialEvents needs allowWatchBookmarks=true"
            problems.append(errors.Problem("allowWatchBookmarks", message, "FieldValueForbidden"))
        elif self.match and self.watch and self.initial is None:
            message = "is for watches only with sendInitialEvents"
            problems.append(errors.Problem("resourceVersionMatch", message, "FieldValueForbidden"))
        elif self.match and not self.watch and not self.version:
            message = "needs a resourceVersion"
            problems.append(errors.Problem("resourceVersionMatch", message, "FieldValueForbidden"))
        elif self.match == "Exact" and self.version == "0":
            message = "Exact needs a resourceVersion that is not 0"
            problems.append(errors.Problem("resourceVersionMatch", message, "FieldValueForbidden"))
        elif self.token and self.version not in ("", "0"):
            message = "a continue token has its own; leave it out"
            problems.append(errors.Problem("resourceVersion", message, "FieldValueForbidden"))
        if problems:
            raise errors.InvalidError(problems, "ListOptions")


@dataclass(frozen=True, slots=True)
class Delete:
    """Options of delete and deletecollection, from the query and from the body."""

    dry_run: bool = False
    uid: str = ""
    version: str = ""
    propagation: port.Propagation = port.Propagation.BACKGROUND
    grace: int | None = None

    @classmethod
    def read(cls, query: Mapping[str, str], body: meta.Json | None) -> Delete:
        """The body, a DeleteOptions, wins over the query; InvalidError, BadInputError."""
        options = _Options(body or {})
        policy = options.text("propagationPolicy") or query.get("propagationPolicy", "")
        if policy and policy not in tuple(port.Propagation):
            raise unsupported("propagationPolicy", policy, tuple(port.Propagation))
        orphan = options.boolean("orphanDependents")
        if orphan is None and "orphanDependents" in query:
            orphan = flag(query, "orphanDependents")
        if orphan is not None and policy:
            message = "orphanDependents and propagationPolicy cannot both be given"
            raise errors.InvalidError([errors.Problem("propagationPolicy", message)], "DeleteOptions")
        if orphan is not None:
            policy = port.Propagation.ORPHAN if orphan else port.Propagation.BACKGROUND
        preconditions = _Options(options.mapping("preconditions"), "preconditions.")
        grace = options.number("gracePeriodSeconds")
        return cls(
            dry_run=any(map(dry_run, options.texts("dryRun"))) or dry_run(query.get("dryRun", "")),
            uid=preconditions.text("uid"),
            version=preconditions.text("resourceVersion"),
            propagation=port.Propagation(policy or port.Propagation.BACKGROUND),
            grace=whole(query, "gracePeriodSeconds") if grace is None else grace,
        )


@dataclass(frozen=True, slots=True)
class _Options:
    """Typed access to the fields of a DeleteOptions."""

    document: meta.Json
    prefix: str = field(default="")

    def text(self, name: str) -> str:
        return str(self._get(name, str, "text") or "")

    def boolean(self, name: str) -> bool | None:
        found: bool | None = self._get(name, bool, "true or false")
        return found

    def number(self, name: str) -> int | None:
        found: int | None = self._get(name, int, "a whole number")
        if found is not None and (isinstance(found, bool) or not 0 <= found < MAX_SECONDS):
            raise self._wrong(name, f"a whole number from 0 to {MAX_SECONDS - 1}")
        return found

    def mapping(self, name: str) -> meta.Json:
        found: meta.Json = self._get(name, dict, "a mapping") or {}
        return found

    def texts(self, name: str) -> list[str]:
        found: list[str] = self._get(name, list, "a list of texts") or []
        if not all(isinstance(item, str) for item in found):
            raise self._wrong(name, "a list of texts")
        return found

    def _get(self, name: str, kind: type, wanted: str) -> Any:
        value = self.document.get(name)
        if value is None or isinstance(value, kind):
            return value
        raise self._wrong(name, wanted)

    def _wrong(self, name: str, wanted: str) -> errors.InvalidError:
        return errors.InvalidError([errors.Problem(self.prefix + name, f"must be {wanted}")], "DeleteOptions")


def dry_run(text: str) -> bool:
    """``All`` or nothing; InvalidError."""
    if text and text != "All":
        raise unsupported("dryRun", text, ("All",))
    return bool(text)


def unsupported(name: str, value: str, allowed: tuple[str, ...]) -> errors.InvalidError:
    """The refusal of a word that an option cannot have."""
    message = f"{value[:80]!r} is not one of {', '.join(allowed)}"
    return errors.InvalidError([errors.Problem(name, message, "FieldValueNotSupported")], "options")
