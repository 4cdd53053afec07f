"""What phone systems send that is odd, as the administrator sees it; and recordings that belong together."""

from datetime import UTC, datetime, timedelta

from callseal.store.calls import list_calls
from callseal.store.oddities import count_oddities
from tests.console.running import RunningConsole

NOW = datetime.now(UTC)


def test_oddities_stand_by_phone_system_the_weightiest_first_with_counts_and_the_last_call(console: RunningConsole) -> None:
    recording = console.add_call()
    with console.parts.database.write() as connection:
        for at, names in ((1, ["type-without-xml", "offer-late"]), (2, ["type-without-xml", "metadata-malformed"])):
            count_oddities(connection, "main-pbx", names, recording, NOW - timedelta(minutes=9 - at))
        count_oddities(connection, "branch", ["name-that-is-gone"], None, NOW)
    with console.sign_in(console.custodian.enrol("administrator", "Ada")) as client:
        rows = client.get("/api/odd").json()["peers"]
        assert list(rows) == ["main-pbx"]
        assert [(row["name"], row["times"]) for row in rows["main-pbx"]] == [
            ("metadata-malformed", 1), ("type-without-xml", 2), ("offer-late", 1)]  # fmt: skip
        page = client.get("/odd").text
        assert "not well-formed XML" in page and "early-offer forced" in page and f"/calls/{recording}" in page
        assert page.index("look at this") < page.index("harmless")


def test_without_oddities_the_page_says_so(console: RunningConsole) -> None:
    with console.sign_in(console.custodian.enrol("administrator", "Ada")) as client:
        assert "Nothing odd has been seen yet." in client.get("/odd").text


def test_a_call_recorded_twice_stands_once_in_the_list_and_names_its_twin_on_its_page(console: RunningConsole) -> None:
    first = console.add_call(minutes_ago=5)
    twin = console.add_call(minutes_ago=5, same_call_as=first, conversation=first)
    moved = console.add_call(minutes_ago=2, conversation=first)
    other = console.add_call(minutes_ago=1)
    orphan = console.add_call(minutes_ago=4, same_call_as="f" * 32)
    with console.sign_in(console.custodian.enrol("manager", "Max")) as client:
        shown = client.get("/api/calls").json()["calls"]
        assert [call["recording"] for call in shown] == [other, moved, orphan, first]
        assert "recorded twice" in shown[-1]["notes"]
        page = client.get(f"/calls/{first}").text
        assert f"/calls/{twin}" in page and f"/calls/{moved}" in page and f"/calls/{other}" not in page
        assert "recorded once more" in page and "went on in another call" in page
        assert f"/calls/{first}" in client.get(f"/calls/{twin}").text and f"/calls/{twin}" in client.get(f"/calls/{moved}").text
        assert "One conversation" not in client.get(f"/calls/{other}").text
    with console.parts.database.read() as connection:
        assert len(list_calls(connection, tokens=[])) == 0


def test_another_peers_recording_is_never_shown_as_part_of_a_conversation(console: RunningConsole) -> None:
    first = console.add_call()
    foreign = console.add_call(peer="rival", conversation=first, same_call_as=first)
    with console.sign_in(console.custodian.enrol("manager", "Max")) as client:
        assert f"/calls/{foreign}" not in client.get(f"/calls/{first}").text
        assert foreign in [call["recording"] for call in client.get("/api/calls").json()["calls"]]
