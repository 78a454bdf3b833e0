"""Implementations of the objects port, and the cache over it."""
