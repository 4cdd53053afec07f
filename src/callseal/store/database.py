"""The database: SQLite on one machine (through `pysqlite3`, WAL), or PostgreSQL, behind SQLAlchemy Core.

Invariants: a WAL database is refused under SQLite 3.51.3 (the WAL-reset bug, sqlite.org/wal.html); a writing transaction
takes its lock at the start, so that it never fails half way for another writer; the database's faults reach callers as
`Unavailable`, its schema's as `ConfigError`.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pysqlite3
from sqlalchemy import Connection, Engine, Table, column, create_engine, event, inspect, make_url, select, table
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError

from callseal.config.folders import joint_mode
from callseal.errors import ConfigError, Unavailable
from callseal.store.files import make_folder

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

SQLITE_LEAST = (3, 51, 3)
BUSY_TIMEOUT_MS = 5000
_WRITES = "callseal_writes"
_MIGRATIONS = Path(__file__).parent / "migrations"
_VERSION = table("alembic_version", column("version_num"))


class Database:
    """One process's way to the database. Thread-safe; connections are pooled."""

    def __init__(self, url: str) -> None:
        """Prepare the way to `url` without connecting. Raises ConfigError for an unusable URL or SQLite version."""
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            check_sqlite_version(pysqlite3.sqlite_version_info)
            if not parsed.database:
                raise ConfigError("database: expected a file for SQLite, got none")
            self._file: Path | None = Path(parsed.database)
            self.engine = _sqlite_engine(url)
        elif parsed.get_backend_name() == "postgresql":
            self._file = None
            self.engine = create_engine(parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
        else:
            raise ConfigError(f"database: expected sqlite or postgresql, got {parsed.get_backend_name()}")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view; nothing written in it stays. Raises Unavailable where the database is away."""
        with _as_ours(), self.engine.connect() as connection, connection.begin() as transaction:
            yield connection
            transaction.rollback()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One writing transaction: all of it, durable, or none. Raises Unavailable."""
        with _as_ours(), self.engine.connect() as connection:
            connection = connection.execution_options(**{_WRITES: True})
            with connection.begin():
                yield connection

    def migrate(self) -> None:
        """Bring the schema to this version's; safe for several processes at once. Raises Unavailable, ConfigError."""
        if self._file is not None:
            make_folder(self._file.parent)
            _make_file(self._file)
        with self.write() as connection:
            if _revision(connection) == _head():
                return
            from alembic import command  # a third of a command's start, and needed once a version
            from alembic.config import Config as AlembicConfig

            config = AlembicConfig(attributes={"connection": connection})
            config.set_main_option("script_location", str(_MIGRATIONS))
            command.upgrade(config, "head")

    def check_schema(self) -> None:
        """Raises Unavailable where the schema is not (yet) this version's."""
        if self._file is not None and not self._file.exists():
            raise Unavailable("database: expected it to exist; the watcher makes it when Callseal starts")
        with self.read() as connection:
            if _revision(connection) != _head():
                raise Unavailable(f"database: expected schema {_head()}, got {_revision(connection)}")

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def _make_file(path: Path) -> None:
    """An empty database, for whoever its folder is for; SQLite gives its journal the same mode."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    try:
        os.fchmod(descriptor, joint_mode(path.parent))
    finally:
        os.close(descriptor)


def insert_new(connection: Connection, table: Table, **values: Any) -> bool:
    """Insert a row unless one with its key stands; returns whether it was inserted."""
    statement = _insert(connection, table).values(**values).on_conflict_do_nothing()
    return bool(connection.execute(statement).rowcount > 0)


def put_row(connection: Connection, table: Table, **values: Any) -> None:
    """Insert a row, or overwrite the one with its key."""
    key = [column.name for column in table.primary_key]
    changed = {name: value for name, value in values.items() if name not in key}
    statement = _insert(connection, table).values(**values)
    connection.execute(statement.on_conflict_do_update(index_elements=key, set_=changed))


def _insert(connection: Connection, table: Table) -> "sqlite.Insert | postgresql.Insert":
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # loaded only where it is used: every command starts with this module

    return postgresql.insert(table)


def check_sqlite_version(version: tuple[int, ...]) -> None:
    """Raises ConfigError under 3.51.3, where WAL may lose committed work."""
    if version < SQLITE_LEAST:
        raise ConfigError(f"SQLite: expected 3.51.3 or newer for WAL, got {'.'.join(map(str, version))}")


def _sqlite_engine(url: str) -> Engine:
    engine = create_engine(url, module=pysqlite3.dbapi2, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions begin where `_begin` says, not where the driver guesses
        cursor = connection.cursor()
        for setting in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "trusted_schema=OFF",
            "secure_delete=ON",
        ):
            cursor.execute(f"PRAGMA {setting}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


@contextmanager
def _as_ours() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise Unavailable(f"database: {type(error.orig).__name__}") from error


def _head() -> str:
    """The newest migration: one linear chain, each file named by its revision."""
    return max(path.name.partition("_")[0] for path in (_MIGRATIONS / "versions").glob("[0-9]*_*.py"))


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(_VERSION.name):
        return None
    return connection.scalar(select(_VERSION.c.version_num))
