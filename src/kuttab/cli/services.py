"""``kuttab suggestion``, ``early-stopping`` and ``db-manager``: our services of Katib's gRPC contract, one process each."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from kuttab.cli import common

Host = Annotated[str, typer.Option(help="Address to listen on (default: 127.0.0.1, in a pod all).", show_default=False)]


def _port(text: str) -> Any:
    return typer.Option(min=0, max=65535, help=text, show_default=False)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: kuttab suggestion --algorithm tpe --port 6789")(suggestion)
    app.command("early-stopping", epilog="Example: kuttab early-stopping --host 0.0.0.0")(early_stopping)
    app.command("db-manager", epilog="Example: kuttab db-manager --database sqlite:////var/lib/katib/observations.db")(
        db_manager
    )


def suggestion(
    algorithm: Annotated[
        str, typer.Option("--algorithm", metavar="NAME", help="Serve only this one (default: all).")
    ] = "",
    host: Host = "",
    port: Annotated[
        int | None,
        _port("Port (default: KATIB_SUGGESTION_PORT, else 6789; 0: any free one)."),
    ] = None,
) -> None:
    """Serve the search algorithms over Katib's gRPC, for any Katib; SIGTERM ends it in order."""
    from kuttab.wiring import services

    common.run_async(services.suggestion(algorithm, host, port, _announce))


def early_stopping(
    kubeconfig: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Cluster whose trials are marked (default in a pod: its own).", show_default=False
        ),
    ] = None,
    context: Annotated[
        str | None, typer.Option(metavar="NAME", help="Context of the kubeconfig.", show_default=False)
    ] = None,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="Namespace of the trials (default: one's own).", show_default=False)
    ] = "",
    host: Host = "",
    port: Annotated[
        int | None,
        _port("Port (default: KATIB_EARLY_STOPPING_PORT, else 6788; 0: any free one)."),
    ] = None,
) -> None:
    """Serve the early-stopping rules over Katib's gRPC, for any Katib; SIGTERM ends it in order."""
    from kuttab.wiring import services

    where = services.Where(kubeconfig, context, namespace)
    common.run_async(services.early_stopping(where, host, port, _announce))


def db_manager(
    database: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="Database (default: as DB_NAME and its like say, else SQLite in the data folder).",
            show_default=False,
        ),
    ] = "",
    data: common.Data = None,
    host: Host = "",
    port: Annotated[
        int | None,
        _port("Port (default: KATIB_DB_MANAGER_SERVICE_PORT, else 6789; 0: any free one)."),
    ] = None,
) -> None:
    """Serve the observation log over Katib's gRPC: metrics are reported to it, read from it, deleted in it."""
    from kuttab.wiring import services
    from kuttab.wiring import settings as settings_

    url = database or services.database_url()
    settings = settings_.Settings(data=settings_.data_folder(data), database=url)
    common.run_async(services.db_manager(settings, host, port, _announce))


def _announce(address: str) -> None:
    typer.echo(f"listening on {address}")
    sys.stdout.flush()
