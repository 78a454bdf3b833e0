"""What ``kuttab algorithms`` prints."""

from __future__ import annotations

import dataclasses
import json as json_
from typing import Any

import typer

from kuttab.algorithms import registry
from kuttab.algorithms.stopping import rule
from kuttab.base import errors


def algorithms(name: str | None, json: bool) -> None:
    """All algorithms and rules, or one with its settings."""
    if name is not None:
        _one(name, json)
        return
    search, stopping = registry.summaries(), rule.summaries()
    if json:
        document = {"algorithms": dict(search), "earlyStopping": dict(stopping)}
        typer.echo(json_.dumps(document, indent=2))
        return
    width = max(len(item) for item, _ in [*search, *stopping]) + 2
    typer.echo("Search algorithms (spec.algorithm.algorithmName)")
    for item, line in search:
        typer.echo(f"  {item:<{width}}{line}")
    typer.echo("\nEarly stopping (spec.earlyStopping.algorithmName)")
    for item, line in stopping:
        typer.echo(f"  {item:<{width}}{line}")
    typer.echo("\nSettings of one: kuttab algorithms NAME")


def _one(name: str, json: bool) -> None:
    """What has this name: a search algorithm, a rule, or both."""
    kinds: list[tuple[Any, str]] = []
    try:
        kinds.append((registry.load(name), "spec.algorithm.algorithmSettings"))
    except errors.NotFoundError as problem:
        if name not in rule.names():
            raise errors.BadInputError(problem.message) from problem
    if name in rule.names():
        kinds.append((rule.load(name), "spec.earlyStopping.algorithmSettings"))
    if json:
        first, *others = [_document(name, kind) for kind, _ in kinds]
        typer.echo(json_.dumps({**first, **({"earlyStopping": others[0]} if others else {})}, indent=2))
        return
    for index, (kind, path) in enumerate(kinds):
        if index:
            typer.echo("")
        _settings(name, kind, path)


def _document(name: str, kind: Any) -> dict[str, Any]:
    settings = [dataclasses.asdict(entry) for entry in kind.Settings.describe()]
    return {"name": name, "summary": kind.summary, "settings": settings}


def _settings(name: str, kind: Any, path: str) -> None:
    entries = kind.Settings.describe()
    typer.echo(f"{name}: {kind.summary}\n")
    if not entries:
        typer.echo("It has no settings.")
        return
    typer.echo(f"Settings ({path})")
    for entry in entries:
        default = "required" if entry.required else f"default {entry.default}"
        facts = ", ".join(fact for fact in (entry.type, default, entry.range) if fact)
        also = f" Also spelled {', '.join(entry.aliases)}." if entry.aliases else ""
        typer.echo(f"  {entry.name}  ({facts})\n      {entry.help}{also}")
