"""``kuttab serve``: the HTTP API in the dialect of Kubernetes, and Katib's db-manager, over this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kuttab.cli import common


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: kuttab serve --kubeconfig ./kubeconfig")(serve)


def serve(
    data: common.Data = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the HTTP API; 0 is a free one.")] = 6780,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than 127.0.0.1 let other machines in.")
    ] = "127.0.0.1",
    db_manager_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of Katib's db-manager (gRPC); 0 is a free one.")
    ] = 6789,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to write the kubeconfig (default: in the data folder)."),
    ] = None,
    tls: Annotated[
        bool, typer.Option("--tls", help="Encrypt, with a certificate authority made in the data folder.")
    ] = False,
    database: Annotated[
        str, typer.Option(metavar="URL", help="Observation log: a SQLite, PostgreSQL or MySQL URL.", show_default=False)
    ] = "",
    image: common.Image = None,
    images: common.Images = None,
    config: common.Config = None,
    quota: common.Quota = "",
    json: common.Json = False,
    quiet: common.Quiet = False,
) -> None:
    """Serve this machine to kubectl, Katib's SDK and gRPC until told to stop.

    Prints the URL and the line that lets kubectl find it. SIGTERM or Ctrl-C lets requests end first; trials that run are ended and run
    again at the next start.
    """
    import dataclasses

    from kuttab.wiring import serving

    settings = common.configured(data, image, images, config, quota=quota, remember=True)
    if database:
        settings = dataclasses.replace(settings, database=database)
    doors = serving.Doors(host, port, db_manager_port, kubeconfig, tls)

    def announce(served: serving.Served) -> None:
        _announce(served, json=json, quiet=quiet)

    common.run_async(serving.serve(settings, doors, announce))


def _announce(served: object, *, json: bool, quiet: bool) -> None:
    from kuttab.wiring import serving

    assert isinstance(served, serving.Served)
    if json:
        import json as writer

        fields = {
            "url": served.url,
            "kubeconfig": str(served.kubeconfig),
            "tokenFile": str(served.token_file),
            "dbManager": served.db_manager,
            "data": str(served.data),
        }
        typer.echo(writer.dumps(fields))
    elif quiet:
        typer.echo(served.url)
    else:
        typer.echo(f"serving {served.url} from {served.data}; db-manager {served.db_manager}")
        typer.echo(f"export KUBECONFIG={_shell_word(str(served.kubeconfig))}")
    if served.exposed:
        typer.echo(
            "kuttab: other machines can reach this address, and the token crosses the network unencrypted; use --tls",
            err=True,
        )


def _shell_word(text: str) -> str:
    import shlex

    return shlex.quote(text)
