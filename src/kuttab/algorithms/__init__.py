"""Search algorithms and early-stopping rules: pure functions of (space, settings, seed, history)."""
