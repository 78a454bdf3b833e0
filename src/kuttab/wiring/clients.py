"""``kuttab.Client`` and ``kuttab.AsyncClient``: the typed client over a data folder of this machine, or over an API server."""

from __future__ import annotations

import os
from pathlib import Path

from kuttab.base import errors
from kuttab.sdk import client, client_sync
from kuttab.wiring import client_doors
from kuttab.wiring import settings as settings_


class AsyncClient(client.AsyncClient):
    """The typed client of experiments, for asynchronous programs.

    ``data``: a data folder of this machine (default: ``$KUTTAB_HOME`` or ``./.kuttab``); ``kubeconfig`` (with ``context``): a file, or
    True for where kubectl finds it; ``url`` with ``token`` (and ``authority``, a certificate file): a server as ``kuttab serve`` prints
    it. ``db_manager`` is the address of metric rows beside a server. ``namespace`` is where names are looked for; by default everywhere
    in a folder, and the kubeconfig's on a server. Raises BadInputError.
    """

    def __init__(
        self,
        *,
        data: str | os.PathLike[str] | None = None,
        kubeconfig: str | os.PathLike[str] | bool | None = None,
        context: str | None = None,
        url: str = "",
        token: str = "",
        authority: str | os.PathLike[str] | None = None,
        db_manager: str = "",
        namespace: str | None = None,
    ) -> None:
        super().__init__(_door(data, kubeconfig, context, url, token, authority, db_manager, namespace))


class Client(client_sync.Client):
    """The typed client of experiments; the arguments are those of :class:`AsyncClient`."""

    def __init__(
        self,
        *,
        data: str | os.PathLike[str] | None = None,
        kubeconfig: str | os.PathLike[str] | bool | None = None,
        context: str | None = None,
        url: str = "",
        token: str = "",
        authority: str | os.PathLike[str] | None = None,
        db_manager: str = "",
        namespace: str | None = None,
    ) -> None:
        super().__init__(
            lambda: client.AsyncClient(_door(data, kubeconfig, context, url, token, authority, db_manager, namespace))
        )


def _door(
    data: str | os.PathLike[str] | None,
    kubeconfig: str | os.PathLike[str] | bool | None,
    context: str | None,
    url: str,
    token: str,
    authority: str | os.PathLike[str] | None,
    db_manager: str,
    namespace: str | None,
) -> client.Door:
    if sum(given not in (None, "", False) for given in (data, kubeconfig, url)) > 1:
        raise errors.BadInputError("give one of data, kubeconfig and url: each is another world")
    if not kubeconfig and not url:
        folder = client_doors.Folder(settings_.Settings(settings_.data_folder(data)))
        folder.namespace = namespace
        return folder
    try:
        from kuttab.client import kube, kube_wire
    except ModuleNotFoundError as problem:
        text = f"a server needs the extra kubernetes: pip install 'kuttab[kubernetes]' ({problem})"
        raise errors.BadInputError(text) from problem
    if url:
        access = kube_wire.of(url, token, Path(authority) if authority else None)
        place = namespace
    else:
        access = kube_wire.read(None if kubeconfig is True else Path(str(kubeconfig)), context)
        place = namespace or access.namespace or "default"
    return client_doors.Server(kube.KubeClient(kube_wire.Wire(access)), place, db_manager)
