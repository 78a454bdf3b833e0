"""Commands that only look: get, describe, best, logs, explain, validate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kuttab.cli import common


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: kuttab get trials quickstart -o csv")(get)
    app.command(epilog="Example: kuttab describe quickstart")(describe)
    app.command(epilog="Example: kuttab best quickstart")(best)
    app.command(epilog="Example: kuttab logs quickstart-x2bq7kfd -f")(logs)
    app.command(epilog="Example: kuttab explain quickstart")(explain)
    app.command(epilog="Example: kuttab validate experiment.yaml")(validate)


def get(
    kind: Annotated[str, typer.Argument(help="experiments, trials, suggestions, jobs, pods, events ...")],
    name: Annotated[
        str | None, typer.Argument(help="One object; for trials an experiment's name lists its trials.")
    ] = None,
    data: common.Data = None,
    namespace: common.Namespace = None,
    output: common.Output = "table",
    limit: Annotated[int, typer.Option(min=0, help="At most so many rows; 0 is all.")] = 0,
) -> None:
    """List objects, or show one."""
    from kuttab.cli import getting

    getting.get(common.settings(data), kind, name, namespace, output, limit)


def describe(
    name: Annotated[str, typer.Argument(help="Name of an experiment or trial.")],
    data: common.Data = None,
    namespace: common.Namespace = None,
) -> None:
    """Tell everything about an experiment or a trial: settings, progress, conditions, events."""
    from kuttab.cli import looking

    looking.describe(common.settings(data), name, namespace)


def best(
    name: Annotated[str, typer.Argument(help="Name of the experiment.")],
    data: common.Data = None,
    namespace: common.Namespace = None,
    output: Annotated[str, typer.Option("--output", "-o", help="yaml, json or args (--name=value ...).")] = "yaml",
) -> None:
    """Print the best trial's parameters and metrics."""
    from kuttab.cli import looking

    looking.best(common.settings(data), name, namespace, output)


def logs(
    trial: Annotated[str, typer.Argument(help="Name of the trial.")],
    data: common.Data = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing until the trial ends.")] = False,
    tail: Annotated[int, typer.Option(min=-1, help="Only the last so many lines; -1 is all.")] = -1,
) -> None:
    """Print what a trial's program printed."""
    from kuttab.cli import looking

    looking.logs(common.settings(data), trial, follow, tail)


def explain(
    name: Annotated[str, typer.Argument(help="Name of an experiment or trial.")],
    data: common.Data = None,
    namespace: common.Namespace = None,
) -> None:
    """Say why something waits or why it failed, down to the object that is the cause."""
    from kuttab.cli import looking

    looking.explain(common.settings(data), name, namespace)


def validate(
    files: Annotated[list[Path], typer.Argument(help="Manifests; - is standard input.")],
    images: common.Images = None,
    config: common.Config = None,
    image: common.Image = None,
) -> int:
    """Check manifests without running anything: every problem with its field path and line; exit code 2 if there is any."""
    from kuttab.cli import looking

    return looking.validate(files, common.configured(None, image, images, config))
