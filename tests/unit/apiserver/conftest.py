"""A server of its own for each test."""

from served_api import api, serve

__all__ = ["api", "serve"]
