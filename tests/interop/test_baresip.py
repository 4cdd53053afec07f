"""Somebody else's phone calls in: baresip over TLS and SRTP, without SIPREC metadata."""

import asyncio
import base64
import socket
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from pylibsrtp import Policy, Session

from callseal.net.authority import issue_client
from callseal.phone.synthetic import make_voice
from callseal.phone.track import PROFILES
from tests import plaintext_search
from tests import sip_rig as rig
from tests.conftest import Stack
from tests.interop.baresip import PROGRAM, WHY_SKIPPED, Baresip

pytestmark = [pytest.mark.real, pytest.mark.skipif(PROGRAM is None, reason=WHY_SKIPPED)]

SPOKEN = make_voice(2.1, 130)


def phone(running: rig.Rig, name: str | None = "phone", media: str = "srtp-mand") -> Baresip:
    tls = running.config.data / "tls"
    files = (tls / f"{name}.pem", tls / f"{name}.key") if name else (None, None)
    baresip = Baresip(running.config.data / "baresip", tls / "ca.pem", *files, media)
    baresip.speak(SPOKEN)
    return baresip


@pytest.mark.parametrize("codec", ["PCMA", "PCMU"])
def test_baresip_is_recorded_and_its_voice_opens_under_the_key_that_the_recorder_took(tmp_path: Path, codec: str) -> None:
    async def story() -> None:
        async with rig.running(tmp_path) as running:
            ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            ear.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            ear.bind(("127.0.0.1", 0))
            ear.setblocking(False)
            running.media._next_port = ear.getsockname()[1] - 2
            said = await phone(running).call(*running.daemon.server.address, codec.lower(), 6)
            assert "Call established" in said, said
            assert (await running.wait_event("CallEnded"))["data"] == {"reason": "bye"}
            (leg,) = running.events("CallStarted")[0]["data"]["legs"]
            assert leg["suite"] == "AES_CM_128_HMAC_SHA1_80" and leg["codec"].startswith(codec)
            assert leg["party"] == "unknown"
            (opened,) = running.media.of("media.open")
            assert opened["meta"]["participants"] == []
            law = plaintext_search._a_law_linear() if codec == "PCMA" else plaintext_search._mu_law_linear()
            heard = law[np.frombuffer(b"".join(_unprotect(ear, opened["streams"][0])), np.uint8)].astype(float)
            spoken = SPOKEN[: len(heard)].astype(float)
            assert len(spoken) >= len(SPOKEN) - 320, "it did not say all of it"
            noise = np.mean((heard[: len(spoken)] - spoken) ** 2)
            assert 10 * np.log10(np.mean(spoken**2) / noise) > 30, "what was heard is not what it said"

    asyncio.run(story())


def _unprotect(ear: socket.socket, stream: dict[str, str]) -> list[bytes]:
    key = base64.urlsafe_b64decode(stream["key"] + "=" * (-len(stream["key"]) % 4))
    session = Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=PROFILES[stream["suite"]]))
    payloads = []
    with ear:
        while True:
            try:
                payloads.append(session.unprotect(ear.recv(2048))[12:])
            except BlockingIOError:
                return payloads


def test_baresip_without_srtp_gets_488_and_is_not_recorded(tmp_path: Path) -> None:
    async def story() -> None:
        async with rig.running(tmp_path) as running:
            said = await phone(running, media="").call(*running.daemon.server.address, "pcma", 2)
            assert "488" in said
            assert (await running.wait_event("OfferRefused"))["data"]["status"] == 488
            assert not running.media.of("media.open") and not running.events("CallStarted")

    asyncio.run(story())


@pytest.mark.parametrize("name", [None, "unlisted"])
def test_baresip_without_a_known_certificate_is_not_let_in(tmp_path: Path, name: str | None) -> None:
    async def story() -> None:
        async with rig.running(tmp_path) as running:
            issue_client(running.config.data / "tls", "unlisted", datetime.now(UTC))
            said = await phone(running, name).call(*running.daemon.server.address, "pcma", 2)
            assert "Call established" not in said
            assert await running.wait_event("PeerRefused")
            assert not running.media.orders and not running.events("CallStarted")

    asyncio.run(story())


def test_baresip_is_sealed_by_the_whole_line(stack: Stack) -> None:
    tls = stack.data / "tls"
    baresip = Baresip(stack.file.parent / "baresip", tls / "ca.pem", tls / "phone.pem", tls / "phone.key")
    baresip.speak(SPOKEN)
    host, _, port = stack.address("sip").rpartition(":")
    said = asyncio.run(baresip.call(host, int(port), "pcma", 5))
    assert "Call established" in said, said
    call = stack.wait_call("sealed")
    assert len(SPOKEN) / 8 - 100 <= call["duration_ms"] <= len(SPOKEN) / 8 + 3000, "it hangs up some time after its last word"
    verified = stack.cli(["verify"])
    assert verified.returncode == 0, verified.stdout + verified.stderr
