"""Text for the cell of a spreadsheet: no value of a trial or a user may be run as a formula. It knows no format of files."""

from __future__ import annotations

from typing import Final

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula."""


def cell(text: str) -> str:
    """The text; what looks like a formula and is no number gets a quote in front, which a spreadsheet does not show."""
    if text.startswith(FORMULA):
        try:
            float(text)
        except ValueError:
            return "'" + text
    return text
