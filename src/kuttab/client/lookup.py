"""Objects by a name alone, as people say them: the namespace is wherever the name is found. It lists: for commands, not for loops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kuttab.api import kinds
from kuttab.base import errors

if TYPE_CHECKING:
    from kuttab.api import meta


async def find(
    objects: Any, kind: kinds.Kind, name: str, namespace: str | None, *, missing: str = "", several: str
) -> meta.Object:
    """The object of that name; without a namespace the only one of that name anywhere.

    ``missing`` and ``several`` end the sentences of NotFoundError and BadInputError: what to do at this front door.
    """
    if namespace is not None:
        found: meta.Object = await objects.get(kind, namespace, name)
        return found
    page = await objects.list(kind, fields=f"metadata.name={name}")
    check(kind, name, [item.namespace for item in page.items], missing=missing, several=several)
    only: meta.Object = page.items[0]
    return only


def check(kind: kinds.Kind, name: str, places: Sequence[str], *, missing: str = "", several: str) -> None:
    """NotFoundError, BadInputError unless a name was found in one namespace, and only there."""
    if not places:
        raise errors.NotFoundError(f"no {kind.singular} named {name}{missing}")
    if len(places) > 1:
        where = ", ".join(sorted(places))
        raise errors.BadInputError(f"{kind.plural} named {name} are in several namespaces ({where}); {several}")
