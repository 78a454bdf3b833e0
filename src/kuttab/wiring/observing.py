"""The observation log of a data folder: for its owner, a step behind, and for those who read beside him."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from kuttab.base import errors
from kuttab.base import log as logs
from kuttab.observations import behind, sql
from kuttab.wiring import control
from kuttab.wiring import settings as settings_

_LOG = logs.get(__name__)

_PATIENCE: Final = 2 * sql.GATHER
"""Seconds for an owner to bring rows to the disk: it does so unasked within half of that, if it can at all."""


def _log(settings: settings_.Settings) -> sql.SqlObservations:
    return sql.SqlObservations(settings.database or sql.file_url(settings.data / "observations.db"))


@contextlib.asynccontextmanager
async def observations(settings: settings_.Settings) -> AsyncIterator[sql.SqlObservations]:
    """The log of the settings, open."""
    log = _log(settings)
    try:
        await log.open()
        yield log
    finally:
        await log.close()


@contextlib.asynccontextmanager
async def owned(settings: settings_.Settings, gate: behind.Gate) -> AsyncIterator[behind.Behind]:
    """The log for the owner of the data folder, who asks at the gate before he writes down what follows from rows."""
    plain = _log(settings)
    log = behind.Behind(plain, gate)
    try:
        await log.open()
    except BaseException:
        await plain.close()
        raise
    try:
        yield log
    finally:
        await log.close()


@contextlib.asynccontextmanager
async def beside(settings: settings_.Settings) -> AsyncIterator[sql.SqlObservations]:
    """The log for reading, when the owner of the folder, if there is one, has brought to it what he has."""
    try:
        async with asyncio.timeout(_PATIENCE), control.reach(settings.data) as owner:
            if owner is not None:
                await owner.settle_rows()
    except (TimeoutError, errors.KuttabError) as problem:  # what is in the log can be read all the same
        _LOG.info("observations.owner.lags", problem=problem)
    async with observations(settings) as log:
        yield log


async def bring(settings: settings_.Settings, gate: behind.Gate) -> None:
    """Bring what an ended run left to the log; while its database is away it stays where it is."""
    try:
        async with owned(settings, gate):
            pass
    except errors.UnavailableError as problem:
        _LOG.warning("observations.left", problem=problem, ends=len(gate.owed(0.0)))
