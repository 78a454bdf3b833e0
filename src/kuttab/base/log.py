"""Structured logging: an event name and key-values, never prose. The library is loaded on first use only."""

from __future__ import annotations

import logging
import sys
from typing import Any


class Log:
    """A small bound logger over the standard library, rendered as logfmt; values are quoted so that no value can forge a line."""

    def __init__(self, name: str, context: dict[str, Any] | None = None) -> None:
        self._logger = logging.getLogger(name)
        self._context = context or {}

    def bind(self, **context: Any) -> Log:
        """The same logger with more context."""
        return Log(self._logger.name, {**self._context, **context})

    def debug(self, event: str, **values: Any) -> None:
        """Details for the maintainer."""
        self._write(logging.DEBUG, event, values)

    def info(self, event: str, **values: Any) -> None:
        """Normal life."""
        self._write(logging.INFO, event, values)

    def warning(self, event: str, **values: Any) -> None:
        """Something a user may want to look at."""
        self._write(logging.WARNING, event, values)

    def error(self, event: str, **values: Any) -> None:
        """Something that needs help."""
        self._write(logging.ERROR, event, values)

    def exception(self, event: str, **values: Any) -> None:
        """An unexpected exception, with its traceback."""
        if self._logger.isEnabledFor(logging.ERROR):
            self._logger.error(_render(event, {**self._context, **values}), exc_info=True)

    def _write(self, level: int, event: str, values: dict[str, Any]) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, _render(event, {**self._context, **values}))


def get(name: str) -> Log:
    """The logger of a module: ``log = logs.get(__name__)``."""
    return Log(name)


def configure(level: str = "WARNING") -> None:
    """Send our log to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root = logging.getLogger("kuttab")
    root.handlers[:] = [handler]
    root.setLevel(level)
    root.propagate = False


def _render(event: str, values: dict[str, Any]) -> str:
    return " ".join([event, *(f"{key}={_quote(value)}" for key, value in values.items())])


def _quote(value: Any) -> str:
    text = str(value)
    if text.isprintable() and text and not set(text) & set(' "='):
        return text
    return '"' + text.encode("unicode_escape").decode("ascii").replace('"', '\\"') + '"'
