"""Image references by syntax alone; nothing is looked up anywhere."""

from __future__ import annotations

import re

LONGEST = 1024
_HOST = r"(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,253}))(?::[0-9]{1,5})?"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?:{_HOST}/)?{_PART}(?:/{_PART})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(?:@[A-Za-z0-9+._-]+:[0-9a-fA-F]{{32,}})?"
)


def fits(image: str) -> bool:
    """Whether the text is an image reference: ``[host[:port]/]name[/name...][:tag][@digest]``."""
    return len(image) <= LONGEST and _REFERENCE.fullmatch(image) is not None
