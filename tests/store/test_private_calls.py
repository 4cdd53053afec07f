"""What is kept of private calls: invitations that work once, and calls for as long as the policy says."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from callseal.errors import Conflict, LimitExceeded
from callseal.store import private_calls
from callseal.store.database import Database
from callseal.store.private_calls import KeptCall, add_invitation, find_invitation, forget, keep_call, list_calls, use_invitation

NOW = datetime(2026, 11, 27, 14, 0, tzinfo=UTC)
CALL, WHO = "A" * 22, "a" * 16


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database(f"sqlite:///{tmp_path / 'callseal.db'}")
    database.migrate()
    return database


def test_an_invitation_is_kept_once_used_once_and_gone_when_it_expires(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with database.write() as connection:
        add_invitation(connection, CALL, WHO, NOW + timedelta(hours=1), NOW)
        with pytest.raises(Conflict):
            add_invitation(connection, CALL, WHO, NOW + timedelta(hours=2), NOW)
        found = find_invitation(connection, CALL)
        assert found is not None and (found.who, found.used) == (WHO, False)
        use_invitation(connection, CALL)
        used = find_invitation(connection, CALL)
        assert used is not None and used.used
        monkeypatch.setattr(private_calls, "INVITATION_LIMIT", 1)
        with pytest.raises(LimitExceeded):
            add_invitation(connection, "B" * 22, WHO, NOW + timedelta(hours=1), NOW)
        assert forget(connection, 30, NOW + timedelta(hours=1)) == 1
        assert find_invitation(connection, CALL) is None
    database.close()


def test_calls_are_deleted_on_their_day_and_leave_no_bytes(database: Database, tmp_path: Path) -> None:
    with database.write() as connection:
        keep_call(connection, KeptCall(WHO, NOW - timedelta(days=30), 61_000, "completed"))
        keep_call(connection, KeptCall("", NOW, 0, "missed"))
        assert [call.outcome for call in list_calls(connection)] == ["missed", "completed"]
        assert forget(connection, 30, NOW) == 1
        assert [call.outcome for call in list_calls(connection)] == ["missed"]
        assert forget(connection, 0, NOW) == 1
    database.close()
    assert WHO.encode() not in (tmp_path / "callseal.db").read_bytes()
