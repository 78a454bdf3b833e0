"""Commands that write results: export, report, plot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kuttab.cli import common

Name = Annotated[str, typer.Argument(help="Name of the experiment.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: kuttab export quickstart -o trials.csv")(export)
    app.command(epilog="Example: kuttab report quickstart -o report.html")(report)
    app.command(epilog="Example: kuttab plot quickstart history -o history.svg")(plot)


def export(
    name: Name,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", help="File; for optuna and mlflow a storage URL such as sqlite:///study.db. Default: print.",
            show_default=False,
        ),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format", "-f", help="csv, json, parquet, configmap, optuna or mlflow (default: by the file's ending, else csv).",
            show_default=False,
        ),
    ] = None,
    data: common.Data = None,
    namespace: common.Namespace = None,
) -> None:  # fmt: skip
    """Write an experiment's trials as a table, a document, a ConfigMap for spec.warmStart, a study of Optuna, or runs of MLflow."""
    from kuttab.cli import reporting

    reporting.export(common.settings(data), name, namespace, output, form)


def report(
    name: Name,
    output: Annotated[Path, typer.Option("--output", "-o", help="HTML file to write.")] = Path("report.html"),
    data: common.Data = None,
    namespace: common.Namespace = None,
) -> None:
    """Write one HTML page with everything about an experiment; it needs no network and no other file."""
    from kuttab.cli import reporting

    reporting.report(common.settings(data), name, namespace, output)


def plot(
    name: Name,
    kind: Annotated[
        str,
        typer.Argument(help="history, parallel, slice, contour, importance, curves, timeline or edf."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="FILE.svg, .html or .png.")],
    parameters: Annotated[
        str | None, typer.Option(help="Two parameters for a contour, as X,Y.", show_default=False)
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="Metric for curves (default: the objective).", show_default=False)
    ] = None,
    data: common.Data = None,
    namespace: common.Namespace = None,
) -> None:
    """Write one plot of an experiment."""
    from kuttab.cli import reporting

    reporting.plot(common.settings(data), name, namespace, kind, output, reporting.options(kind, parameters, metric))
