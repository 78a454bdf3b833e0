"""Who owns what, for owners that were made lately: then all their children were seen, and no index on disk need be asked.

Nothing can name an owner before it exists, as nobody knows its uid. Bounded: of older owners, and of those with many children, it knows
nothing and says so.
"""

from __future__ import annotations

import collections
from typing import Final

from kuttab.store import log

OWNERS: Final = 512
CHILDREN: Final = 64


class Families:
    """Children by the uid of their owner."""

    def __init__(self) -> None:
        self._children: collections.OrderedDict[str, dict[log.Key, None]] = collections.OrderedDict()

    def add(self, entry: log.Entry) -> None:
        """Take in an applied write."""
        if entry.op is log.Op.ADDED:
            self._children[entry.object.uid] = {}
            if len(self._children) > OWNERS:
                self._children.popitem(last=False)
        for owner in entry.object.metadata.owner_references or ():
            known = self._children.get(owner.uid)
            if known is None:
                continue
            if entry.op is log.Op.DELETED:
                known.pop(entry.key, None)
            else:
                known[entry.key] = None
            if len(known) > CHILDREN:
                del self._children[owner.uid]

    def of(self, uid: str) -> list[log.Key] | None:
        """Keys, in order, of all objects that may name that owner; None when that is not known here."""
        known = self._children.get(uid)
        return None if known is None else sorted(known)
