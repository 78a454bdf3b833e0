"""What loading the registry loads."""

from __future__ import annotations

import subprocess
import sys


def test_listing_algorithms_loads_no_numeric_library() -> None:
    """Names and summaries of ours come without numpy and scipy, so that the command line starts fast."""
    code = (
        "import sys; from kuttab.algorithms import registry; registry.summaries(); registry.names(); "
        "print([m for m in ('numpy', 'scipy', 'cmaes') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_random_search_needs_no_scipy() -> None:
    """A first trial need not wait for a library that only models use."""
    program = (
        "import sys, kuttab; from kuttab import search\n"
        "kuttab.Optimizer({'x': search.double(0, 1, log=False)}, algorithm='random', seed=1).ask(3)\n"
        "print('scipy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
