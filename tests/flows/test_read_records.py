"""Vendors' call records read into calls: identifiers, numbers, times and lengths, and what is passed over."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from callseal.config.records import FORMAT_NAMES, load_formats, load_records
from callseal.errors import ConfigError, LimitExceeded, NotFound, RequestError
from callseal.flows import read_records
from callseal.flows.read_records import read_csv, read_webhook

AT = datetime(2026, 11, 27, 14, 0, 5, tzinfo=UTC)
EPOCH = int(AT.timestamp())

SAMPLES: dict[str, str] = {
    "generic": "call_id,from,to,started_at,ended_at\nabc@pbx,+441632960001,205,2026-11-27T14:00:05Z,2026-11-27T14:01:05Z\n",
    "cisco-cucm": (
        '"globalCallID_callId","incomingProtocolCallRef","origLegCallIdentifier","callingPartyNumber","finalCalledPartyNumber",'
        '"dateTimeOrigination","dateTimeConnect","dateTimeDisconnect","duration"\n'
        '"INTEGER","VARCHAR(32)","INTEGER","VARCHAR(50)","VARCHAR(50)","INTEGER","INTEGER","INTEGER","INTEGER"\n'
        f'"1","abc@pbx","23412389","+441632960001","205","{EPOCH - 4}","{EPOCH}","{EPOCH + 60}","60"\n'
        f'"2","never@pbx","23412390","+441632960002","205","{EPOCH - 4}","0","{EPOCH + 6}","0"\n'
    ),
    "cisco-cube": (
        f"{EPOCH},12,0,1,31B6A7C0 11223344 55667788 99AABBCC,441632960001,,*14:00:01.000 UTC Fri Nov 27 2026,,"
        "*14:00:05.000 UTC Fri Nov 27 2026,*14:01:05.000 UTC Fri Nov 27 2026\n"
        f"{EPOCH},13,0,2,31B6A7C0 11223344 55667788 99AABBCC,205,,*14:00:01.000 UTC Fri Nov 27 2026,,"
        "*14:00:05.000 UTC Fri Nov 27 2026,*14:01:05.000 UTC Fri Nov 27 2026\n"
    ),
    "oracle": (
        "Acct-Status-Type,Acct-Session-Id,Acme-Session-Ingress-CallId,Calling-Station-Id,Called-Station-Id,h323-setup-time,"
        "h323-connect-time,h323-disconnect-time\n"
        '2,"abc@pbx","abc@pbx","<sip:+441632960001@x>;tag=1","<sip:205@x>","14:00:01.000 UTC NOV 27 2026","14:00:05.000 UTC FRI NOV 27 2026",'
        '"14:01:05.000 UTC FRI NOV 27 2026"\n'
        '1,"abc@pbx","abc@pbx","","","14:00:01.000 UTC FRI NOV 27 2026","14:00:05.000 UTC FRI NOV 27 2026",""\n'
    ),
    "audiocodes": (
        "SBCReportType|SIPCallId|SessionId|SrcURI|DstURI|Durat|SetupTime|ConnectTime|ReleaseTime\n"
        "CALL_END|abc@pbx|170369|+441632960001@x|205@x|60|14:00:01.950  UTC Fri Nov 27 2026|14:00:05.000  UTC Fri Nov 27 2026|14:01:05.000  UTC Fri Nov 27 2026\n"
        "CALL_END|other@pbx|170369|+441632960001@x|205@x|60|14:00:02.950  UTC Fri Nov 27 2026|14:00:05.000  UTC Fri Nov 27 2026|14:01:05.000  UTC Fri Nov 27 2026\n"
        "CALL_START|abc@pbx|170369|||0|14:00:01.950  UTC Fri Nov 27 2026||\n"
    ),
    "avaya": "start-date-time,sec-dur,calling-num,dialed-num,ucid\n112726 140005,60,441632960001,205,00001002541795788005\n",
}


def test_every_format_has_a_sample_and_every_sample_a_format() -> None:
    assert set(SAMPLES) == set(FORMAT_NAMES) == set(load_formats())


@pytest.mark.parametrize("name", SAMPLES)
def test_a_vendors_record_is_one_call_with_its_times_and_names(tmp_path: Path, name: str) -> None:
    read = read_csv(SAMPLES[name].encode(), load_records(tmp_path, "office", name))
    (call,) = read.calls
    assert (call.started_at, call.duration_ms) == (AT, 60_000)
    assert call.call_ids
    assert any("1632960001" in number for number in call.numbers)


def test_both_legs_of_one_call_are_one_call_with_both_identifiers(tmp_path: Path) -> None:
    (call,) = read_csv(SAMPLES["audiocodes"].encode(), load_records(tmp_path, "office", "audiocodes")).calls
    assert {"abc@pbx", "other@pbx", "170369"} <= set(call.call_ids)


def test_a_call_that_was_never_answered_is_counted_and_not_expected(tmp_path: Path) -> None:
    read = read_csv(SAMPLES["cisco-cucm"].encode(), load_records(tmp_path, "office", "cisco-cucm"))
    assert (len(read.calls), read.unanswered) == (1, 2)


def test_a_peers_own_file_sets_columns_zone_and_what_is_not_recorded(tmp_path: Path) -> None:
    (tmp_path / "office.toml").write_text(
        'format = "generic"\nzone = "Europe/London"\n[columns]\nstarted_at = ["Begin"]\ntimes = "%d/%m/%Y %H:%M:%S"\n'
        '[[not_recorded]]\nclass = "internal"\ncolumn = "to"\nmatches = "^2\\\\d\\\\d$"\n'
    )
    records = load_records(tmp_path, "office")
    read = read_csv(b"call_id;from;to;Begin\nabcdef;201;205;01/07/2026 15:00:05\nghijkl;201;01632960001;01/07/2026 15:00:05\n", records)
    assert [call.exempt for call in read.calls] == ["internal", ""]
    assert read.calls[0].started_at == datetime(2026, 7, 1, 14, 0, 5, tzinfo=UTC)


def test_a_webhook_holds_one_call_or_several(tmp_path: Path) -> None:
    records = load_records(tmp_path, "office")
    one = b'{"type": "call.ended", "data": {"call_id": "abcdef", "from": "205", "started_at": "2026-11-27T14:00:05Z", "duration": 60}}'
    assert read_webhook(one, records).calls[0].duration_ms == 60_000
    assert len(read_webhook(b'[{"started_at": "2026-11-27T14:00:05Z"}, {"started_at": null}]', records).calls) == 1


@pytest.mark.parametrize("body", [b"", b"{", b"3", b'["x"]', b'{"data": 4}', b"[" * 100_000, b"\xff\xfe"])
def test_a_body_that_is_no_call_is_refused_without_being_repeated(tmp_path: Path, body: bytes) -> None:
    with pytest.raises(RequestError, match="webhook: expected"):
        read_webhook(body, load_records(tmp_path, "office"))


@pytest.mark.parametrize(
    "content", [b"", b"\0\0\0", b"name,number\nA,1\n", b"started_at\n" + b'"' + b"x" * 200_000, "started_at\n２０２６\n".encode()]
)
def test_a_file_without_calls_gives_none_or_one_kind_of_error(tmp_path: Path, content: bytes) -> None:
    try:
        assert read_csv(content, load_records(tmp_path, "office")).calls == ()
    except (RequestError, LimitExceeded) as error:
        assert "xxx" not in str(error)


def test_times_that_are_none_make_no_call(tmp_path: Path) -> None:
    rows = ["", "yesterday", "1970-01-01T00:00:00Z", "9999-99-99", "2026-11-27T25:00:00Z", "0001-01-01T00:00:00+14:00"]
    read = read_csv(("started_at,call_id\n" + "".join(f"{row},abcdef\n" for row in rows)).encode(), load_records(tmp_path, "office"))
    assert (read.calls, read.unreadable) == ((), len(rows))


def test_more_rows_than_the_limit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_records, "ROW_LIMIT", 3)
    with pytest.raises(LimitExceeded):
        read_csv(b"started_at\n" + b"2026-11-27T14:00:05Z\n" * 4, load_records(tmp_path, "office"))


@pytest.mark.parametrize(
    "text",
    ["frmat = 'x'", "zone = 'Mars/Base'", "format = 3\n[columns]\nstart = []", "[[not_recorded]]\nclass = 'x'",
     "[[not_recorded]]\nclass = 'x'\ncolumn = 'y'\nmatches = '('", "webhook_secrets = 'whsec_secret'", "columns = 4"],
)  # fmt: skip
def test_a_wrong_setting_is_an_error_that_names_it_and_no_secret(tmp_path: Path, text: str) -> None:
    (tmp_path / "office.toml").write_text(text)
    with pytest.raises((ConfigError, NotFound)) as caught:
        load_records(tmp_path, "office")
    assert "whsec_secret" not in str(caught.value)


@pytest.mark.parametrize("peer", ["../tls", "", "A", "x/y", "." * 3])
def test_a_peers_name_is_no_path(tmp_path: Path, peer: str) -> None:
    with pytest.raises(NotFound):
        load_records(tmp_path, peer)
