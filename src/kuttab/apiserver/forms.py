"""In which form an answer is wanted: whole objects, a table for people, or metadata alone. Reads the Accept header, nothing else."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from kuttab.apiserver import statuses

_MAX_CLAUSES = 50


class Form(enum.Enum):
    """How objects are written."""

    WHOLE = ""
    TABLE = "Table"
    METADATA = "PartialObjectMetadata"
    METADATA_LIST = "PartialObjectMetadataList"


@dataclass(frozen=True, slots=True)
class Clause:
    """One media type of an Accept header with its parameters."""

    media: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    weight: float = 1.0


def clauses(accept: str) -> list[Clause]:
    """The clauses of an Accept header, the most wanted first; ``*/*`` when there is none."""
    found = [clause for clause in _clauses(accept) if clause.weight > 0]
    return sorted(found, key=lambda clause: -clause.weight) if found else [Clause("*/*")]


def choose(accept: str) -> Form:
    """The first form asked for that is written here; HttpError 406 when there is none."""
    asked = clauses(accept)
    for clause in asked:
        if not is_json(clause.media):
            continue
        kind = clause.parameters.get("as", "")
        if not kind:
            return Form.WHOLE
        if clause.parameters.get("g", "meta.k8s.io") == "meta.k8s.io" and clause.parameters.get("v", "v1") == "v1":
            for form in Form:
                if form.value == kind:
                    return form
    shown = ", ".join(clause.media for clause in asked)[:200]
    raise statuses.not_acceptable(f"answers are written as application/json, not as {shown}")


def is_json(media: str) -> bool:
    """Whether JSON answers that media range."""
    return media in ("application/json", "application/*", "*/*")


def _clauses(accept: str) -> Iterator[Clause]:
    for part in accept.split(",")[:_MAX_CLAUSES]:
        media, *rest = part.split(";")
        parameters = {}
        for item in rest:
            name, _, value = item.partition("=")
            parameters[name.strip().lower()] = value.strip().strip('"')
        if media.strip():
            yield Clause(media.strip().lower(), parameters, _weight(parameters.pop("q", "1")))


def _weight(text: str) -> float:
    try:
        return min(1.0, max(0.0, float(text)))
    except ValueError:
        return 0.0
