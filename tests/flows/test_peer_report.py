"""A test call is judged from events alone: what is right, what is wrong, and the vendor's own setting that cures it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from callseal.config.peers import Peer
from callseal.config.vendors import list_vendors, load_vendor
from callseal.flows.peer_report import PeerReport, Verdict
from callseal.model.clock import format_time

START = datetime(2026, 11, 27, 12, tzinfo=UTC)
RECORDING = "ab" * 16


class Story:
    """Events of sip and media, told to a report."""

    def __init__(self, kind: str = "oracle") -> None:
        self.report = PeerReport(Peer("sbc", kind=kind), START.timestamp())
        self.now = START

    def tell(self, kind: str, recording: str | None = RECORDING, after: float = 0.0, **data: Any) -> "Story":
        self.now += timedelta(seconds=after)
        self.report.take({"v": 1, "source": "sip", "n": 1, "at": format_time(self.now), "type": kind, "recording": recording, "data": data})
        self.report.pass_time(self.now)
        return self

    def begin(self, suite: str = "AEAD_AES_256_GCM", labels: tuple[str, ...] = ("1", "2"), party: str = "customer", protection: str = "measured") -> "Story":
        legs = [{"label": label, "codec": "PCMA/8000", "suite": suite, "party": party, "protection": protection} for label in labels]
        return self.tell("CallStarted", peer="sbc", transport="TLSv1.3 TLS_AES_256_GCM_SHA384", legs=legs, **{"class": "default"})

    def hear(self, *labels: str) -> "Story":
        for label in labels:
            self.tell("StreamHeard", label=label, from_ms=120)
        return self

    def end(self, reason: str = "bye") -> "Story":
        self.tell("CallEnded", after=8, reason=reason)
        self.now += timedelta(seconds=10)
        self.report.pass_time(self.now)
        return self

    def bad(self) -> list[str]:
        return [line.what for line in self.report.finish() if line.verdict is Verdict.BAD]


def test_a_good_call_has_nothing_to_mend():
    story = Story().begin().hear("1", "2").tell("CallUpdated", what="paused", legs=[]).end()
    assert story.bad() == [] and story.report.is_good
    assert [line.what for line in story.report.finish()] == ["tls", "identity", "srtp", "srtp", "streams", "metadata", "codec", "rtp", "rtp", "change", "bye"]


@pytest.mark.parametrize("kind", list_vendors())
def test_an_offer_in_the_clear_names_the_setting_of_its_vendor(kind):
    story = Story(kind).tell("OfferRefused", None, peer="sbc", status=488, why="m-line 1: expected RTP/SAVP with a=crypto, got RTP/AVP")
    (line,) = story.report.finish()
    assert line.verdict is Verdict.BAD and line.cure == Peer("sbc", kind=kind).cure("srtp") and len(line.cure) > 10
    assert not story.report.is_good and story.report.saw_something


def test_refused_suites_are_told_from_an_offer_in_the_clear():
    story = Story().tell("OfferRefused", None, peer="sbc", status=488, why="m-line 1: SRTP: expected AEAD_AES_256_GCM; got suite AES_CM_128_HMAC_SHA1_32")
    (line,) = story.report.finish()
    assert "suites" in line.words and "AES_CM_128_HMAC_SHA1_80" in line.cure


def test_who_has_a_certificate_to_show_is_told_of_it_where_a_cloud_sender_shares_its_address() -> None:
    report = PeerReport(Peer("pbx", frozenset({"0" * 64}), kind="oracle"), 0.0)
    report.take({"v": 1, "source": "sip", "n": 1, "at": "2026-11-27T09:00:00.000Z", "type": "PeerRefused", "recording": None, "data": {"address": "127.0.0.1", "why": "no secret"}})
    (line,) = report.settled()
    assert "certificate" in line.words and "secret" not in line.words and line.cure == load_vendor("oracle").cure("certificate")


@pytest.mark.parametrize("why", ["no certificate", "unknown certificate", "expired certificate", "no secret", "not TLS", "TLS version too old", "something new"])
def test_a_refused_attempt_is_explained_once_and_what_is_anothers_is_left_out(why):
    story = Story()
    for _ in range(5):
        story.tell("PeerRefused", None, address="192.0.2.1", why=why)
        story.tell("OfferRefused", None, peer="other", status=488, why="clear")
    (line,) = story.report.finish()
    assert line.verdict is Verdict.BAD and line.cure and "192.0.2.1" not in line.words


def test_voice_that_does_not_come_is_wrong_after_five_seconds_with_the_stream_that_lacks_it():
    story = Story().begin().hear("1")
    assert "rtp" not in [line.what for line in story.report.settled()]
    story.now += timedelta(seconds=5.1)
    story.report.pass_time(story.now)
    verdicts = {line.words.split(":")[0]: line.verdict for line in story.report.settled() if line.what == "rtp"}
    assert verdicts == {"Stream 1": Verdict.GOOD, "Stream 2": Verdict.BAD}


def test_packets_under_another_key_are_told_from_no_packets():
    story = Story().begin().hear("1").tell("PacketsFailed", label="2", failed=40, replayed=0).end()
    assert story.bad() == ["rtp"] and any("40 packets" in line.words for line in story.report.finish())


def test_a_call_without_bye_and_one_that_goes_on_are_not_good():
    assert Story().begin().hear("1", "2").end("signalling_lost").bad() == ["bye"]
    going_on = Story().begin().hear("1", "2")
    assert going_on.report.finish()[-1].verdict is Verdict.WAITS and not going_on.report.is_good


def test_oddities_mixed_streams_and_clear_voice_by_exception_are_care_and_no_fault():
    story = Story().begin("NONE", ("0",), "unknown", "clear, by exception until 20 Dec 2026").hear("0").tell("OddityNoticed", odd=["type-without-xml", "nonsense"]).end()
    care = [line.what for line in story.report.finish() if line.verdict is Verdict.CARE]
    assert care == ["srtp", "streams", "metadata", "odd"] and story.report.is_good
    assert any("20 Dec 2026" in line.words for line in story.report.finish())


def test_what_media_told_before_signalling_counts_and_the_past_does_not():
    story = Story()
    story.hear("1", "2").begin().end()
    assert story.bad() == []
    old = Story()
    old.now -= timedelta(seconds=60)
    old.begin()
    assert not old.report.saw_something and old.report.finish() == []
