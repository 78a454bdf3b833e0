"""Commands about kuttab itself: which algorithms there are."""

from __future__ import annotations

from typing import Annotated

import typer

from kuttab.cli import common


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: kuttab algorithms tpe")(algorithms)


def algorithms(
    name: Annotated[str | None, typer.Argument(help="One algorithm or early-stopping rule, with its settings.")] = None,
    json: common.Json = False,
) -> None:
    """List search algorithms and early-stopping rules, or one with its settings, defaults and ranges."""
    from kuttab.cli import listing

    listing.algorithms(name, json)
