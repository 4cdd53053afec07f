"""The database: migrations and tables agree, WAL only where it is safe, faults by our own names."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import insert, select, text

from callseal.errors import ConfigError, Unavailable
from callseal.store import schema
from callseal.store.database import Database, check_sqlite_version

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database(f"sqlite:///{tmp_path / 'database' / 'callseal.db'}")
    database.migrate()
    return database


def test_the_migrations_make_exactly_the_tables_of_the_schema(database: Database) -> None:
    with database.read() as connection:
        difference = compare_metadata(MigrationContext.configure(connection), schema.metadata)
    assert difference == []


def test_the_newest_file_is_the_head_of_one_linear_chain(database: Database) -> None:
    config = AlembicConfig()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    script = ScriptDirectory.from_config(config)
    revisions = [revision.revision for revision in script.walk_revisions()]
    files = sorted(path.name.partition("_")[0] for path in Path(script.versions).glob("[0-9]*_*.py"))
    assert revisions[::-1] == files
    with database.read() as connection:
        assert MigrationContext.configure(connection).get_current_revision() == script.get_current_head() == files[-1]


def test_migrating_twice_changes_nothing_and_the_schema_checks(database: Database) -> None:
    database.migrate()
    database.check_schema()


def test_a_database_that_was_never_migrated_is_unavailable(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'callseal.db'}")
    with pytest.raises(Unavailable):
        database.check_schema()
    assert not (tmp_path / "callseal.db").exists()
    (tmp_path / "callseal.db").touch()
    with pytest.raises(Unavailable):
        database.check_schema()


@pytest.mark.parametrize("version", [(3, 40, 1), (3, 51, 2)])
def test_wal_is_refused_on_a_sqlite_that_may_lose_work(version: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError):
        check_sqlite_version(version)
    check_sqlite_version((3, 51, 3))


def test_the_settings_that_keep_data_safe_are_on(database: Database) -> None:
    with database.read() as connection:
        settings = {name: connection.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "synchronous", "foreign_keys")}
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_the_file_is_for_its_owner_only(tmp_path: Path, database: Database) -> None:
    assert stat.S_IMODE((tmp_path / "database" / "callseal.db").stat().st_mode) == 0o600


def test_a_failed_transaction_leaves_nothing_and_a_view_writes_nothing(database: Database) -> None:
    with pytest.raises(KeyError), database.write() as connection:
        connection.execute(insert(schema.positions).values(name="sip", n=1))
        raise KeyError
    with database.read() as connection:
        connection.execute(insert(schema.positions).values(name="sip", n=2))
    with database.read() as connection:
        assert connection.execute(select(schema.positions)).all() == []


def test_a_database_away_is_unavailable(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'nowhere' / 'callseal.db'}")
    with pytest.raises(Unavailable), database.read():
        pass


def test_moments_keep_milliseconds_and_zone(database: Database) -> None:
    at = NOW + timedelta(milliseconds=123)
    with database.write() as connection:
        connection.execute(insert(schema.gauges).values(name="spool_age", value=1, at=at))
    with database.read() as connection:
        assert connection.scalar(select(schema.gauges.c.at)) == at
    with pytest.raises(Exception, match="aware"), database.write() as connection:
        connection.execute(insert(schema.gauges).values(name="naive", value=1, at=NOW.replace(tzinfo=None)))


def test_no_table_has_a_column_for_a_name_or_number() -> None:
    columns = {f"{table.name}.{column.name}" for table in schema.metadata.tables.values() for column in table.columns}
    assert not [name for name in columns if any(word in name for word in ("number", "caller", "phone", "email", "address"))]
