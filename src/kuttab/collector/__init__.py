"""Reads metrics out of a running trial."""
