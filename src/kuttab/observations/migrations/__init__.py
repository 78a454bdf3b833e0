"""Alembic migrations of the observation log, run when a database is opened. Nothing here is imported otherwise."""
