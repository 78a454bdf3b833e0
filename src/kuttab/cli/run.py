"""``kuttab run`` and ``kuttab resume``: run an experiment on this machine in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kuttab.cli import common


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: kuttab run experiment.yaml --max-trials 20 --parallel 2")(run)
    app.command(epilog="Example: kuttab resume quickstart")(resume)


def run(
    file: Annotated[
        Path, typer.Argument(help="Manifest of an Experiment (kubeflow.org/v1beta1 or older); - is standard input.")
    ],
    data: common.Data = None,
    max_trials: Annotated[int | None, typer.Option(min=1, help="Override spec.maxTrialCount.")] = None,
    parallel: Annotated[int | None, typer.Option(min=1, help="Override spec.parallelTrialCount.")] = None,
    assign: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Override any field, e.g. spec.objective.goal=0.9."),
    ] = None,
    image: common.Image = None,
    images: common.Images = None,
    config: common.Config = None,
    quota: common.Quota = "",
    name: Annotated[str | None, typer.Option(help="Run under another name.")] = None,
    json: common.Json = False,
    quiet: common.Quiet = False,
) -> int:
    """Run an Experiment on this machine, show progress, print the best trial.

    The same command again continues an interrupted run; a finished one is only shown. Exit code 1 means that the experiment failed.
    """
    from kuttab.cli import running

    overrides = [*(assign or ())]
    if max_trials is not None:
        overrides.append(f"spec.maxTrialCount={max_trials}")
    if parallel is not None:
        overrides.append(f"spec.parallelTrialCount={parallel}")
    if name is not None:
        overrides.append(f"metadata.name={name}")
    return running.run_file(
        file,
        common.configured(data, image, images, config, quota=quota, remember=True),
        overrides,
        look=running.Look(json=json, quiet=quiet),
    )


def resume(
    name: Annotated[str, typer.Argument(help="Name of the experiment.")],
    data: common.Data = None,
    namespace: common.Namespace = None,
    image: common.Image = None,
    images: common.Images = None,
    config: common.Config = None,
    quota: common.Quota = "",
    json: common.Json = False,
    quiet: common.Quiet = False,
) -> int:
    """Go on with a paused or interrupted experiment, in the foreground unless a runtime already serves the data folder."""
    from kuttab.cli import running

    return running.resume(
        name,
        namespace,
        common.configured(data, image, images, config, quota=quota, remember=True),
        look=running.Look(json=json, quiet=quiet),
    )
