"""Values as text for people: tables, ages, numbers; safe against terminal escapes and spreadsheet formulas in hostile values."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from kuttab.base import clock
from kuttab.rules import spreadsheet


def clean(text: object) -> str:
    """Text that cannot move the cursor, change colours or fake a line: control characters are shown as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def number(text: str) -> str:
    """A number short enough to read; other text as it is."""
    try:
        value = float(text)
    except ValueError:
        return clean(text)
    short = f"{value:.6g}"
    return text if len(text) <= len(short) else short


def age(since: str | None, until: str | None = None) -> str:
    """How long ago, in the two largest units: ``3m12s``."""
    if not since:
        return "-"
    end = clock.parse_rfc3339(until) if until else datetime.now(UTC)
    seconds = max(0, int((end - clock.parse_rfc3339(since)).total_seconds()))
    return span(seconds)


def span(seconds: float) -> str:
    """A duration in its two largest units."""
    left = int(seconds)
    units = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
    parts: list[str] = []
    for name, size in units:
        count, left = divmod(left, size)
        if count or (name == "s" and not parts):
            parts.append(f"{count}{name}")
    return "".join(parts[:2])


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns aligned with two blanks between them, as kubectl prints them."""
    lines = [[clean(item) for item in row] for row in (header, *rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join("  ".join(f"{item:<{w}}" for item, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def as_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Comma separated values without formulas."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for row in (header, *rows):
        writer.writerow([spreadsheet.cell(str(item)) for item in row])
    return out.getvalue().rstrip("\n")


def as_yaml(document: Any) -> str:
    """YAML in the order of the document."""
    import yaml

    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)).rstrip("\n")


def as_json(document: Any) -> str:
    """JSON, two blanks a level."""
    return json.dumps(document, indent=2, ensure_ascii=False)
