"""Fixtures shared by all tests."""

import asyncio

# pytest-asyncio asks for the current loop before its own; Python 3.11 then makes one that nobody closes, and says so later.
asyncio.set_event_loop(None)
