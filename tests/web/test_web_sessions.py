"""Sessions end when they should, are found by nobody else, and hold no token."""

from callseal.web.sessions import LONGEST_SECONDS, Sessions

IDLE = 900.0


def begin(sessions: Sessions, now: float = 0.0, person: str = "p1") -> str:
    return sessions.begin(person, "compliance_officer", "Ann", "passkey", now)


def test_a_session_is_found_by_its_token_and_by_no_other() -> None:
    sessions = Sessions(IDLE)
    token, other = begin(sessions), begin(sessions, person="p2")
    found = sessions.find(token, 1.0)
    assert found is not None and found.person == "p1"
    assert sessions.find(token[:-1], 1.0) is None
    assert sessions.find("", 1.0) is None
    assert token != other


def test_the_table_holds_no_token() -> None:
    sessions = Sessions(IDLE)
    token = begin(sessions)
    assert token not in repr(vars(sessions))
    assert token.encode() not in b"".join(sessions._table)


def test_a_session_lapses_after_its_idle_time_and_its_end_is_told() -> None:
    ended: list[bytes] = []
    sessions = Sessions(IDLE, ended.append)
    token = begin(sessions)
    assert sessions.find(token, IDLE - 0.1) is not None
    assert sessions.find(token, IDLE - 0.1 + IDLE) is None
    assert len(ended) == 1
    assert len(sessions) == 0


def test_a_look_that_does_not_touch_does_not_prolong() -> None:
    sessions = Sessions(IDLE)
    token = begin(sessions)
    assert sessions.find(token, IDLE - 1, touch=False) is not None
    assert sessions.find(token, IDLE, touch=False) is None


def test_a_session_ends_after_its_longest_time_however_busy() -> None:
    sessions = Sessions(IDLE)
    token = begin(sessions)
    now = 0.0
    while now < LONGEST_SECONDS - IDLE:
        now += IDLE / 2
        assert sessions.find(token, now) is not None
    assert sessions.find(token, LONGEST_SECONDS) is None


def test_a_sweep_ends_what_lapsed_without_being_asked() -> None:
    ended: list[bytes] = []
    sessions = Sessions(IDLE, ended.append)
    begin(sessions)
    fresh = begin(sessions, now=IDLE / 2)
    sessions.sweep(IDLE)
    assert len(ended) == 1
    assert sessions.find(fresh, IDLE) is not None


def test_revoking_a_person_ends_all_their_sessions_and_nobody_elses() -> None:
    sessions = Sessions(IDLE)
    first, second, other = begin(sessions), begin(sessions), begin(sessions, person="p2")
    sessions.end_person("p1")
    assert [sessions.find(token, 1.0) is None for token in (first, second, other)] == [True, True, False]


def test_at_the_limit_the_one_longest_unseen_makes_room() -> None:
    sessions = Sessions(IDLE, limit=3)
    tokens = [begin(sessions, now=float(at)) for at in range(3)]
    assert sessions.find(tokens[0], 10.0) is not None
    begin(sessions, now=11.0)
    assert len(sessions) == 3
    assert sessions.find(tokens[1], 12.0) is None
    assert sessions.find(tokens[0], 12.0) is not None


def test_each_session_has_a_page_token_of_its_own() -> None:
    sessions = Sessions(IDLE)
    pages = set()
    for _ in range(3):
        found = sessions.find(begin(sessions), 0.0)
        assert found is not None
        pages.add(found.page_token)
    assert len(pages) == 3
