"""Runs the migrations on the connection that ``schema.prepare`` opened; there is no other way to run them."""

from __future__ import annotations

from alembic import context

from kuttab.observations import tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.METADATA,
    version_table=tables.VERSION_TABLE,
    transactional_ddl=False,  # the caller has begun and will commit
)
context.run_migrations()
