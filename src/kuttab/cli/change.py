"""Commands that change an experiment: stop, pause, extend, delete."""

from __future__ import annotations

from typing import Annotated

import typer

from kuttab.cli import common

Name = Annotated[str, typer.Argument(help="Name of the experiment.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: kuttab stop quickstart")(stop)
    app.command(epilog="Example: kuttab pause quickstart")(pause)
    app.command(epilog="Example: kuttab extend quickstart --max-trials 50")(extend)
    app.command(epilog="Example: kuttab delete quickstart")(delete)


def stop(name: Name, data: common.Data = None, namespace: common.Namespace = None) -> None:
    """End an experiment now and keep what was found; running trials are ended."""
    from kuttab.cli import changing

    changing.stop(common.settings(data), name, namespace)


def pause(name: Name, data: common.Data = None, namespace: common.Namespace = None) -> None:
    """Start no new trials until `kuttab resume`; running ones go on."""
    from kuttab.cli import changing

    changing.pause(common.settings(data), name, namespace)


def extend(
    name: Name,
    data: common.Data = None,
    namespace: common.Namespace = None,
    max_trials: Annotated[int | None, typer.Option(min=1, help="New spec.maxTrialCount.")] = None,
    parallel: Annotated[int | None, typer.Option(min=1, help="New spec.parallelTrialCount.")] = None,
    max_failed: Annotated[int | None, typer.Option(min=0, help="New spec.maxFailedTrialCount.")] = None,
) -> None:
    """Change an experiment's budget; a finished one with resumePolicy LongRunning or FromVolume goes on."""
    from kuttab.cli import changing

    changing.extend(common.configured(data), name, namespace, (max_trials, parallel, max_failed))


def delete(
    name: Name,
    data: common.Data = None,
    namespace: common.Namespace = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete an experiment with its trials, metrics and logs."""
    from kuttab.cli import changing

    changing.delete(common.settings(data), name, namespace, yes)
