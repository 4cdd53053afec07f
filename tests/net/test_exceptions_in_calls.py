"""An exception at work: its peer alone, its time alone, amber on every call; gone, a call in the clear gets 488 again at once."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from callseal.audit.exception import ClearException, ExceptionNote, encode_exceptions
from callseal.audit.note import Signer, sign_note
from callseal.config.peers import read_peer
from callseal.errors import ConfigError
from tests import sip_rig as rig

PLAIN = rig.sdp("", "", protocol="RTP/AVP")


class Notes:
    """What the custodian would publish."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.signer, self.serial = folder, Signer.from_seed("test/2026", os.urandom(32)), 0
        for name in ("cards", "log"):
            (folder / name).mkdir(parents=True)
        (folder / "log" / "log.vkey").write_text(self.signer.verifier.vkey() + "\n")

    def publish(self, *peers: str, signer: Signer | None = None, lasts: timedelta = timedelta(days=5)) -> str:
        now, self.serial = datetime.now(UTC), self.serial + 1
        standing = tuple(ClearException(os.urandom(16).hex(), peer, "127.0.0.0/8", "lo", now + lasts) for peer in peers)
        text = encode_exceptions(ExceptionNote(self.serial, now + timedelta(days=1), standing), lambda plain: sign_note(plain, signer or self.signer).decode())
        (self.folder / "cards" / "exceptions.note").write_text(text)
        return text


def excepted(folder: Path, story: Callable[[rig.Rig, Notes], Awaitable[None]], *peers: str) -> None:
    async def whole() -> None:
        notes = Notes(folder)
        notes.publish(*peers)
        async with rig.running(folder) as running:
            running.add_peer("other")
            await story(running, notes)

    asyncio.run(whole())


async def offer(peer: rig.PeerConnection, call_id: str, body: str = PLAIN) -> rig.Answered:
    answered = await peer.ask(rig.request("INVITE", call_id, body=rig.multipart(body)))
    await peer.send(rig.request("ACK", call_id, to_tag=answered.to_tag))
    return answered


def test_the_excepted_peer_is_recorded_in_the_clear_and_every_leg_and_the_event_say_so(tmp_path: Path):
    async def story(running: rig.Rig, notes: Notes):
        began = await running.wait_event("ExceptionBegan")
        assert began["data"]["peer"] == "phone" and began["data"]["why"].startswith("clear, by exception until ")
        answered = await offer(await running.connect(), "clear")
        assert answered.status == 200 and "RTP/AVP 8" in answered.body and "crypto" not in answered.body
        streams = running.media.of("media.open")[0]["streams"]
        assert [stream["clear"] for stream in streams] == [{"network": "127.0.0.0/8", "interface": "lo"}] * 2
        started = (await running.wait_event("CallStarted"))["data"]
        assert started["why"] == "clear-by-exception" and {leg["protection"] for leg in started["legs"]} == {began["data"]["why"]}

    excepted(tmp_path, story, "phone")


def test_it_is_nobody_elses_and_what_offers_srtp_gets_srtp(tmp_path: Path):
    async def story(running: rig.Rig, notes: Notes):
        refused = await offer(await running.connect("other"), "not-mine")
        assert refused.status == 488
        event = (await running.wait_event("OfferRefused"))["data"]
        assert event["peer"] == "other" and "RTP/SAVP" in event["cure"]
        secure = await offer(await running.connect("phone"), "secure", rig.sdp())
        assert secure.status == 200 and len(secure.values("crypto")) == 2
        assert all("clear" not in stream and stream["key"] for stream in running.media.of("media.open")[0]["streams"])
        assert running.events("CallStarted")[0]["data"].get("why") is None

    excepted(tmp_path, story, "phone")


def test_a_call_that_has_srtp_does_not_lose_it_by_the_exception(tmp_path: Path):
    async def story(running: rig.Rig, notes: Notes):
        peer = await running.connect()
        answered = await offer(peer, "down", rig.sdp())
        lowered = await peer.ask(rig.request("INVITE", "down", 2, rig.multipart(PLAIN), answered.to_tag))
        assert lowered.status == 488 and not running.media.of("media.update")
        assert (await peer.ask(rig.request("BYE", "down", 3, to_tag=answered.to_tag))).status == 200

    excepted(tmp_path, story, "phone")


def test_withdrawn_it_is_488_at_once_on_the_same_connection_and_an_old_note_put_back_changes_nothing(tmp_path: Path):
    async def story(running: rig.Rig, notes: Notes):
        peer = await running.connect()
        assert (await offer(peer, "before")).status == 200
        old = (notes.folder / "cards" / "exceptions.note").read_text()
        notes.publish()
        ended = await running.wait_event("ExceptionEnded")
        assert ended["data"]["peer"] == "phone"
        assert (await offer(peer, "after")).status == 488
        (notes.folder / "cards" / "exceptions.note").write_text(old)
        running.daemon.server.refresh()
        assert (await offer(peer, "rolled-back")).status == 488

    excepted(tmp_path, story, "phone")


def test_its_time_is_asked_at_every_offer_and_not_when_the_connection_was_made(tmp_path: Path):
    async def story(running: rig.Rig, notes: Notes):
        notes.publish("phone", lasts=timedelta(seconds=4))
        running.daemon.server.refresh()
        peer = await running.connect()
        answered = await offer(peer, "in-time")
        assert answered.status == 200
        await running.wait(lambda: running.events("ExceptionEnded"), 15)
        assert (await offer(peer, "late")).status == 488
        assert (await peer.ask(rig.request("BYE", "in-time", 2, to_tag=answered.to_tag))).status == 200, "the call itself ends well"

    excepted(tmp_path, story, "phone")


def test_a_note_by_another_key_and_a_line_in_the_peers_file_make_no_exception(tmp_path: Path):
    async def story(running: rig.Rig, notes: Notes):
        notes.publish("phone", signer=Signer.from_seed("test/2026", os.urandom(32)))
        running.daemon.server.refresh()
        assert (await offer(await running.connect(), "forged")).status == 488
        path = running.config.data / "peers" / "phone.toml"
        for line in ('srtp = "exception"', 'clear_rtp = "127.0.0.0/8"', 'srtp = "optional"'):
            (tmp_path / "phone.toml").write_text(path.read_text().replace('srtp = "require"', line))
            with pytest.raises(ConfigError):
                read_peer(tmp_path / "phone.toml")

    excepted(tmp_path, story)
