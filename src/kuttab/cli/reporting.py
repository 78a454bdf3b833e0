"""What the commands export, report and plot do: gather a result, write it, say where it is."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from kuttab.api import meta
from kuttab.base import errors
from kuttab.cli import common, render
from kuttab.sdk import exchange, plots, results, tables
from kuttab.sdk import report as reports
from kuttab.wiring import collecting, reading
from kuttab.wiring import settings as settings_

FORMATS = ("csv", "json", "parquet", "configmap", "optuna", "mlflow")
TEXTS = ("csv", "json", "configmap")
"""Formats that are text, and can be printed."""
ENDINGS = {".csv": "csv", ".json": "json", ".parquet": "parquet", ".yaml": "configmap"}


def export(
    settings: settings_.Settings, name: str, namespace: str | None, output: str | None, form: str | None
) -> None:
    """Write an experiment's trials."""
    chosen = form or ENDINGS.get(Path(output or "").suffix.lower(), "csv" if output is None else "")
    if chosen not in FORMATS:
        raise errors.BadInputError(f"--format: expected one of {', '.join(FORMATS)} for {output}, got {form!r}")
    if output is None and chosen not in TEXTS:
        raise errors.BadInputError(f"--output: {chosen} needs a file or storage URL, such as sqlite:///{name}.db")

    def write(result: results.Result) -> None:
        if output is None:
            typer.echo(_PRINTERS[chosen](result), nl=False)
            return
        said = _WRITERS[chosen](result, output)
        typer.echo(f"{len(result.trials)} trials written to {output}{said}", err=True)

    _with_result(settings, name, namespace, write)


def report(settings: settings_.Settings, name: str, namespace: str | None, output: Path) -> None:
    """Write the page."""

    def write(result: results.Result) -> None:
        _guarded(output, lambda: reports.write(result, output, collecting.failure_logs(settings, result)))
        typer.echo(f"report written to {output}", err=True)

    _with_result(settings, name, namespace, write)


def plot(
    settings: settings_.Settings,
    name: str,
    namespace: str | None,
    kind: str,
    output: Path,
    given: dict[str, Any],
) -> None:
    """Write one plot; a plot with nothing to show is written too, and says why."""

    def write(result: results.Result) -> None:
        data = plots.plot_data(kind, result, **given)
        _guarded(output, lambda: plots.draw(data, output))
        note = f" ({data.note})" if data.note else ""
        typer.echo(f"plot written to {output}{note}", err=True)

    _with_result(settings, name, namespace, write)


def options(kind: str, parameters: str | None, metric: str | None) -> dict[str, Any]:
    """The options of a kind of plot. Raises BadInputError for one that it does not have."""
    if parameters is not None and kind != "contour":
        raise errors.BadInputError(f"--parameters: belongs to contour, not to {kind}")
    if metric is not None and kind != "curves":
        raise errors.BadInputError(f"--metric: belongs to curves, not to {kind}")
    if parameters is None:
        return {} if metric is None else {"metric": metric}
    pair = tuple(part.strip() for part in parameters.split(","))
    if len(pair) != 2:
        raise errors.BadInputError(f"--parameters {parameters}: expected two names, as X,Y")
    return {"parameters": pair}


def _with_result(
    settings: settings_.Settings, name: str, namespace: str | None, write: Callable[[results.Result], None]
) -> None:
    async def work() -> None:
        async with reading.reach(settings) as found, collecting.rows(settings) as read:
            result = await collecting.result_of(found.objects, name, namespace, read)
            await asyncio.to_thread(write, result)

    common.run_async(work())
    sys.stdout.flush()


def _csv(result: results.Result, output: str) -> str:
    _guarded(output, lambda: result.to_csv(output))
    return ""


def _json(result: results.Result, output: str) -> str:
    _guarded(output, lambda: result.to_json(output))
    return ""


def _parquet(result: results.Result, output: str) -> str:
    _guarded(output, lambda: tables.write_parquet(result, output))
    return ""


def _config_map(result: results.Result) -> str:
    """A manifest for ``spec.warmStart`` of another experiment."""
    found = exchange.prior(result.experiment, exchange.of_result(result))
    _, made = exchange.attach(result.experiment, found)
    return render.as_yaml(meta.dump(made)) + "\n"


def _write_config_map(result: results.Result, output: str) -> str:
    text = _config_map(result)
    _guarded(output, lambda: _write_text(output, text))
    return ""


def _write_text(output: str, text: str) -> None:
    Path(output).write_text(text, encoding="utf-8")


def _optuna(result: results.Result, output: str) -> str:
    from kuttab.sdk import exchange_optuna

    logging.getLogger("optuna").setLevel(logging.WARNING)
    study = exchange_optuna.export(result, output)
    return f" as study {study.study_name}"


def _mlflow(result: results.Result, output: str) -> str:
    from kuttab.sdk import exchange_mlflow

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    return f" as run {exchange_mlflow.export(result, output)}"


_WRITERS: dict[str, Callable[[results.Result, str], str]] = {
    "csv": _csv, "json": _json, "parquet": _parquet, "configmap": _write_config_map, "optuna": _optuna, "mlflow": _mlflow,
}  # fmt: skip


_PRINTERS: dict[str, Callable[[results.Result], str]] = {
    "csv": tables.csv_text,
    "json": lambda result: render.as_json(tables.document(result)) + "\n",
    "configmap": _config_map,
}


def _guarded(output: str | Path, write: Callable[[], None]) -> None:
    try:
        write()
    except OSError as problem:
        raise errors.BadInputError(f"{output}: cannot be written: {problem.strerror}") from problem
