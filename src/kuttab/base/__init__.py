"""Words used everywhere: errors, clock, identifiers, logging. Imports nothing of ours."""
