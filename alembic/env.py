"""Run by Alembic for `shoestring db upgrade`: migrate over the connection that `shoestring.migrate` holds."""

from __future__ import annotations

from shoestring.tables import VERSION_TABLE, metadata

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,  # SQLite alters a table by copying it
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
