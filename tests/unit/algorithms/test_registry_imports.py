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
