"""Alembic's migrations, run by `store.database.Database.migrate`."""
