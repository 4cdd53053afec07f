"""The multi-buffer library: used only where it says what OpenSSL says, and what was handed to it is as it was afterwards."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from callseal.cli.doctor import examine
from callseal.cli.finding import Finding, Verdict
from callseal.config.settings import Config, Media
from callseal.errors import ConfigError, InternalError, NotAcceptable, RequestError, Unavailable
from callseal.flows.recording import VoiceStream
from callseal.model.message import to_text
from callseal.net import multi_buffer
from callseal.net.multi_buffer import MultiBuffer, find_engine
from callseal.rtp.header import Bytes, Mask
from callseal.rtp.srtp import SrtpReceiver
from callseal.rtp.srtp_crypto import CM_TAG_BYTES, CmKey, GcmKey, Keys, Rows, open_rows
from callseal.rtp.srtp_kdf import SUITES, SessionKeys, derive_session
from tests.media_rig import PCMA, Sender, running
from tests.rtp_batch import payloads_of, rows_of


@pytest.fixture(scope="module", autouse=True)
def engine() -> MultiBuffer:
    try:
        return MultiBuffer()
    except OSError:
        pytest.skip("libipsec-mb1 is not installed")


def wrong_keys(suite: str, at: int) -> type[MultiBuffer]:
    """One bit of what it makes of a suite's keys is another."""

    class WrongKeys(MultiBuffer):
        def make_key(self, keys: SessionKeys) -> CmKey | GcmKey:
            key = super().make_key(keys)
            assert key.block is not None
            if keys.suite.name == suite:
                key.block._room[key.block.address - key.block._room.ctypes.data + at] ^= 1
            return key

    return WrongKeys


class TakesAll(MultiBuffer):
    """Every tag is right."""

    def open_gcm(self, batch: Rows) -> tuple[Mask, Bytes]:
        ok, payload = super().open_gcm(batch)
        return np.ones_like(ok), payload


class LosesTheLast(MultiBuffer):
    """The last byte of the longest packet is another."""

    def open_cm(self, batch: Rows, tags: Bytes) -> tuple[Mask, Bytes]:
        ok, payload = super().open_cm(batch, tags)
        payload[int(np.argmax(batch.length)), -1] ^= 1
        return ok, payload


class HalfATag(MultiBuffer):
    """Of a tag the first eight bytes are looked at."""

    def _are_zero(self, count: int) -> Mask:
        zero: Mask = self._macs.view(np.uint64)[:count, 0] == 0
        return zero


CM, GCM = "AES_CM_128_HMAC_SHA1_80", "AEAD_AES_256_GCM"


@pytest.mark.parametrize(
    "wrong",
    [
        TakesAll, LosesTheLast, HalfATag, wrong_keys(CM, 0), wrong_keys(CM, 35), wrong_keys(CM, 64), wrong_keys(CM, 200),
        wrong_keys(GCM, 0), wrong_keys("AEAD_AES_128_GCM", 20),
    ],
)  # fmt: skip
def test_one_that_answers_otherwise_than_openssl_is_not_used(wrong: type[MultiBuffer], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InternalError, match="answers that OpenSSL gives"):
        wrong()
    monkeypatch.setattr(multi_buffer, "MultiBuffer", wrong)
    engine, why = find_engine("auto")
    assert engine.name == "OpenSSL"
    assert "answers that OpenSSL gives" in why
    with pytest.raises(Unavailable, match=r"media\.engine"):
        find_engine("ipsec-mb")


def test_a_version_whose_structures_are_not_known_is_not_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multi_buffer, "VERSIONS", range(0x20000, 0x20100))
    monkeypatch.setattr(MultiBuffer, "make_key", lambda *_: pytest.fail("it was used"))
    with pytest.raises(InternalError, match=r"expected version 1\.3, got 1\.3"):
        MultiBuffer()


def test_where_it_is_not_installed_openssl_does_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multi_buffer, "LIBRARY", "libnowhere.so.1")
    engine, why = find_engine("auto")
    assert (engine.name, why) == ("OpenSSL", "libipsec-mb1 is not installed")
    with pytest.raises(Unavailable, match="not installed"):
        find_engine("ipsec-mb")


def test_the_setting_has_three_values() -> None:
    assert find_engine("openssl")[0].name == "OpenSSL"
    assert find_engine("ipsec-mb")[0].name.startswith("ipsec-mb 1.3")
    with pytest.raises(ConfigError, match=r"media\.engine: expected one of auto, openssl, ipsec-mb"):
        Media(engine="rot13")


def test_rows_that_do_not_hold_what_they_say_never_reach_it(engine: MultiBuffer) -> None:
    for suite in SUITES.values():
        keys = Keys(1)
        keys.enter(0, engine.make_key(derive_session(suite, bytes(suite.key_bytes + suite.salt_bytes))))
        for start, length in ((12, 1600), (12, -1), (-1, 20), (12, 1536 - 12 - 15)):
            columns = (np.array([value]) for value in (0, start, length, 1, 1, 0))
            batch = Rows(np.zeros((1, 1536), np.uint8), *columns, keys)
            with pytest.raises(InternalError, match="lie in their rows"):
                open_rows(engine, batch, np.zeros((1, CM_TAG_BYTES), np.uint8))


def test_a_key_identifier_of_no_length_is_refused(engine: MultiBuffer) -> None:
    for mki_bytes in (-1, -10_000_000, 129):
        receiver = SrtpReceiver(1, engine)
        with pytest.raises(NotAcceptable, match="mki"):
            receiver.add_stream(0, GCM, bytes(44), mki_bytes=mki_bytes)
        fields = {"label": "1", "suite": GCM, "key": to_text(bytes(44)), "codecs": [PCMA], "mki_bytes": mki_bytes}
        with pytest.raises(RequestError, match="mki_bytes"):
            VoiceStream.read(0, fields)


@pytest.mark.parametrize("count", [1, 127, 128, 129, 700])
@pytest.mark.parametrize("suites", [[name] for name in SUITES] + [list(SUITES)])
def test_bursts_of_every_size_open_and_leave_the_packets_as_they_were(engine: MultiBuffer, suites: list[str], count: int) -> None:
    senders = [Sender(suite) for suite in suites]
    receiver = SrtpReceiver(8, engine)
    for number, sender in enumerate(senders):
        receiver.add_stream(number, sender.suite, sender.key)
    of = [n * len(senders) // count for n in range(count)]
    sent = [bytes([n % 256]) * (n * 7 % 1300) for n in range(count)]
    rows, lengths = rows_of([senders[which].protect(payload) for which, payload in zip(of, sent, strict=True)])
    before = rows.copy()
    frames = receiver.unprotect(rows, lengths, np.array(of))
    assert sorted(payloads_of(frames)) == sorted(payload for payload in sent)
    assert (rows == before).all()
    assert (receiver.failed.sum(), receiver.replayed.sum()) == (0, 0)
    for sender in senders:
        sender.close()


@pytest.mark.parametrize("at", [0, 1, 129, 200, 255])
def test_the_librarys_jobs_are_taken_round_its_ring(engine: MultiBuffer, at: int) -> None:
    """Wherever the next one stands: by itself it begins at the first again once all are done."""
    sender, receiver = Sender(GCM), SrtpReceiver(1, engine)
    receiver.add_stream(0, sender.suite, sender.key)
    sent = [bytes([n % 256]) * 160 for n in range(700)]
    rows, lengths = rows_of([sender.protect(payload) for payload in sent])
    for first, end in ((0, 1), (1, 101), (101, 229), (229, 700)):
        engine._manager.next_job = at * multi_buffer._JOB.itemsize
        assert engine._get_ring(1) == at
        frames = receiver.unprotect(rows[first:end], lengths[first:end], np.zeros(end - first, np.int64))
        assert payloads_of(frames) == sent[first:end]
    assert receiver.failed[0] == 0
    sender.close()


def test_a_damaged_packet_among_good_ones_is_counted_and_nothing_of_it_stays(engine: MultiBuffer) -> None:
    for suite in SUITES:
        sender, receiver = Sender(suite), SrtpReceiver(1, engine)
        receiver.add_stream(0, sender.suite, sender.key)
        packets = [sender.protect(bytes([n % 256]) * 160) for n in range(300)]
        for at in (10, 128, 299):
            packets[at] = packets[at][:50] + bytes([packets[at][50] ^ 1]) + packets[at][51:]
        rows, lengths = rows_of(packets)
        frames = receiver.unprotect(rows, lengths, np.zeros(300, np.int64))
        assert payloads_of(frames) == [bytes([n % 256]) * 160 for n in range(300) if n not in (10, 128, 299)]
        assert receiver.failed[0] == 3
        sender.close()


def test_what_it_makes_of_a_key_is_overwritten_when_the_stream_goes(engine: MultiBuffer) -> None:
    for suite in SUITES.values():
        key = engine.make_key(derive_session(suite, bytes(range(suite.key_bytes + suite.salt_bytes))))
        assert key.block is not None
        room: Any = key.block._room
        assert room.any()
        del key
        assert not room.any()


@pytest.mark.parametrize(("setting", "name"), [("", "ipsec-mb 1.3"), ('[media]\nengine = "openssl"\n', "OpenSSL")])
def test_a_worker_says_what_opens_its_srtp(tmp_path: Path, setting: str, name: str) -> None:
    with running(tmp_path, settings=setting) as rig:
        assert f'"engine": "{name}' in rig.log()


def test_doctor_says_what_opens_srtp_and_what_would_open_more(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(engine: str) -> Finding:
        return next(it for it in examine(Config(media=Media(engine=engine)), datetime.now(UTC)) if it.what == "SRTP")

    assert (found("auto").verdict, found("auto").fix) == (Verdict.GOOD, "")
    assert "ipsec-mb 1.3" in found("auto").found
    assert (found("openssl").verdict, found("openssl").fix) == (Verdict.GOOD, "")
    monkeypatch.setattr(multi_buffer, "LIBRARY", "libnowhere.so.1")
    assert (found("auto").verdict, "libipsec-mb1" in found("auto").fix) == (Verdict.GOOD, True)
    assert "not installed" in found("auto").found
    assert (found("ipsec-mb").verdict, "libipsec-mb1" in found("ipsec-mb").fix) == (Verdict.BAD, True)

    monkeypatch.setattr(multi_buffer, "LIBRARY", "libIPSec_MB.so.1")
    monkeypatch.setattr(multi_buffer, "VERSIONS", range(0))
    assert (found("auto").verdict, "version 1.3" in found("auto").fix) == (Verdict.CARE, True)
