"""``kuttab controller``: the controllers over a Kubernetes cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kuttab.cli import common


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: kuttab controller --kubeconfig ~/.kube/config --database postgresql://db/kuttab")(
        controller
    )


def controller(
    kubeconfig: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Which cluster (default: as kubectl finds it).", show_default=False),
    ] = None,
    context: Annotated[
        str | None, typer.Option(metavar="NAME", help="Context of the kubeconfig.", show_default=False)
    ] = None,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="Run experiments of one namespace only.", show_default=False)
    ] = "",
    database: Annotated[
        str, typer.Option(metavar="URL", help="Observation log: a SQLite, PostgreSQL or MySQL URL.", show_default=False)
    ] = "",
    data: common.Data = None,
) -> None:
    """Run experiments of a Kubernetes cluster: trials are its Jobs, metrics are read from the logs of their pods.

    Needs the definitions of deploy/crds in the cluster. May be ended and started again at any time; run one at a time.
    """
    from kuttab.wiring import cluster
    from kuttab.wiring import settings as settings_

    machine = settings_.Settings(data=settings_.data_folder(data), database=database)

    def announce(world: cluster.Cluster) -> None:
        served = ", ".join(kind.kind for kind in world.workloads)
        place = f"namespace {namespace}" if namespace else "all namespaces"
        typer.echo(f"running experiments of {place} (Kubernetes {world.server}); trials may be {served}")

    def complain(text: str) -> None:
        typer.echo(text, err=True)

    common.run_async(cluster.run(cluster.Settings(machine, kubeconfig, context, namespace), announce, complain))
