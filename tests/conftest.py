"""Fixtures shared by all tests."""

import asyncio
import os

# Before numpy is imported: its threads spin while they wait for each other, which doubles the cost of small matrices on a busy machine.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# pytest-asyncio asks for the current loop before its own; Python 3.11 then makes one that nobody closes, and says so later.
asyncio.set_event_loop(None)
