"""Decisions: pure, synchronous, no clock but the one passed in."""
