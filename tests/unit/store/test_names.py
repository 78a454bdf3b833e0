"""The filter of names."""

from __future__ import annotations

from kuttab.store import log, names


def key(number: int) -> log.Key:
    """Some key."""
    return log.Key("kubeflow.org/Trial", "default", f"trial-{number}")


def test_never_forgets() -> None:
    """Every name that was given may be taken."""
    found = names.Names(key(number) for number in range(0, 20_000, 2))
    assert all(found.may_have(key(number)) for number in range(0, 20_000, 2))


def test_seldom_errs() -> None:
    """Of free names fewer than one in a thousand is taken for a taken one."""
    found = names.Names(key(number) for number in range(0, 40_000, 2))
    assert sum(found.may_have(key(number)) for number in range(1, 40_000, 2)) < 20
