"""Objects by a name alone, as people say them: the namespace is wherever the name is found. It lists: for commands, not for loops."""

from __future__ import annotations

from typing import Any

from kuttab.api import kinds, meta
from kuttab.base import errors


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
    if not page.items:
        raise errors.NotFoundError(f"no {kind.singular} named {name}{missing}")
    if len(page.items) > 1:
        places = ", ".join(sorted(item.namespace for item in page.items))
        raise errors.BadInputError(f"{kind.plural} named {name} are in several namespaces ({places}); {several}")
    only: meta.Object = page.items[0]
    return only
