"""Options that several commands share, and what they become."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kuttab.base import errors

if TYPE_CHECKING:
    from kuttab.wiring import settings as settings_

Data = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="DIR", help="Data folder (default: KUTTAB_HOME, else ./.kuttab).", show_default=False
    ),
]
Namespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="Namespace (default: wherever the name is found).", show_default=False),
]
Image = Annotated[
    list[str] | None,
    typer.Option("--image", metavar="NAME=FOLDER", help="Let a folder stand for an image's file system; repeatable."),
]
Images = Annotated[
    Path | None,
    typer.Option(
        "--images", metavar="FILE", help="YAML file of the images setting (default: images.yaml in the data folder)."
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="KatibConfig, or ConfigMap katib-config, that names programs for algorithms (default: config.yaml in the data folder).",
    ),
]
Quota = Annotated[
    str,
    typer.Option(
        "--quota",
        metavar="QUOTA",
        help="Asked before each trial's workload: none, slots, slots:cpus=4,gpus=1,memory=16Gi, or a service's URL.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for programs.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the result.")]
Output = Annotated[str, typer.Option("--output", "-o", help="table, wide, json, yaml, csv or name.")]


def settings(data: Path | None, image: list[str] | None = None, images: Path | None = None) -> settings_.Settings:
    """The settings of the one-machine world from the common options."""
    from kuttab.wiring import settings as settings_

    folder = settings_.data_folder(data)
    found: dict[str, Any] = settings_.read_images(images, folder)
    for item in image or ():
        name, equals, path = item.rpartition("=")
        if not equals or not name or not path:
            raise errors.BadInputError(f"--image {item}: write NAME=FOLDER, e.g. --image pytorch-mnist=./rootfs")
        found[name] = {"root": str(Path(path).expanduser().absolute())}
    return settings_.Settings(data=folder, images=found)


def configured(
    data: Path | None,
    image: list[str] | None = None,
    images: Path | None = None,
    config: Path | None = None,
    *,
    quota: str = "",
    remember: bool = False,
) -> settings_.Settings:
    """The same with the quota and the configuration file; ``remember`` makes that the data folder's own, for later commands over it."""
    from kuttab.wiring import settings as settings_

    plain = dataclasses.replace(settings(data, image, images), quota=quota)
    if quota:
        from kuttab.wiring import quotas

        quotas.read(quota)
    found = settings_.configured(plain, config)
    if remember and config is not None:
        settings_.remember(plain, config)
    return found


def run_async(main: Any) -> Any:
    """Run a coroutine to its end; Ctrl-C cancels it."""
    import asyncio

    return asyncio.run(main)
