"""Early-stopping rules, one a file."""
