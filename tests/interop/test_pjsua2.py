"""Somebody else's stack calls in: PJSIP over TLS and SRTP, without SIPREC; what it says is sealed, and opens to what it said."""

import asyncio
import json
import sys
import wave
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from callseal.phone.synthetic import make_voice
from tests import media_rig, plaintext_search
from tests.media.test_vendor_calls_end_to_end import signalling
from tests.media_rig import MediaRig

pytestmark = [pytest.mark.real, pytest.mark.skipif(find_spec("pjsua2") is None, reason="pjsua2-python has no wheel for this Python")]
PROGRAM = Path(__file__).with_name("pjsua2_phone.py")
SPOKEN = make_voice(2.1, 130)


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MediaRig]:
    with media_rig.running(tmp_path_factory.mktemp("media")) as rig:
        yield rig


async def call(running: Any, folder: Path, *options: str) -> dict[str, Any]:
    """Place one call with PJSIP; what it says of it."""
    tls = running.config.data / "tls"
    with wave.open(str(folder / "spoken.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(SPOKEN.astype("<i2").tobytes())
    files = {"ca": tls / "ca.pem", "cert": tls / "phone.pem", "key": tls / "phone.key", "wav": folder / "spoken.wav", "log": folder / "log"}
    named = [text for name, path in files.items() for text in (f"--{name}", str(path))]
    port = running.daemon.server.address[1]
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), "--uri", f"sips:callseal@localhost:{port};transport=tls", *named, *options,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await asyncio.wait_for(process.communicate(), 40)
    assert process.returncode == 0, errors.decode(errors="replace")
    said: dict[str, Any] = json.loads(output.decode().splitlines()[-1])
    return said


def likeness(heard: np.ndarray, spoken: np.ndarray) -> float:
    """The greatest correlation of what was heard with what was said, wherever it begins."""
    heard, spoken = heard - heard.mean(), spoken - spoken.mean()
    size = 1 << (len(heard) + len(spoken)).bit_length()
    cross = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(spoken, size)), size)
    return float(np.abs(cross).max() / np.sqrt((heard**2).sum() * (spoken**2).sum()))


@pytest.mark.parametrize("codec", ["PCMA", "PCMU"])
def test_pjsip_is_sealed_and_its_voice_opens(worker: MediaRig, tmp_path: Path, codec: str) -> None:
    async def story() -> None:
        async with signalling(worker, "127.0.0.1") as running:
            said = await call(running, tmp_path, "--codec", f"{codec}/8000/1", "--seconds", "2.6")
            assert "CONFIRMED" in said["states"], said
            started = running.events("CallStarted")[-1]
            assert started["data"]["transport"].startswith("TLSv1.2") and started["data"]["legs"][0]["codec"] == f"{codec}/8000"
            assert started["data"]["legs"][0]["suite"] == "AES_CM_128_HMAC_SHA1_80"
            await running.wait(lambda: [e for e in worker.events("PartEnded") if e["recording"] == started["recording"]], 10)
            parts = worker.open_parts(started["recording"])
            law = plaintext_search._a_law_linear() if codec == "PCMA" else plaintext_search._mu_law_linear()
            heard = law[np.frombuffer(b"".join(payload for part in parts for payload in part.payloads), np.uint8)].astype(float)
            assert likeness(heard, SPOKEN.astype(float)) > 0.95
            assert likeness(heard, make_voice(2.1, 210).astype(float)) < 0.5, "the likeness would see another voice as the same"

    asyncio.run(story())


def test_pjsip_without_srtp_gets_488_and_is_not_recorded(worker: MediaRig, tmp_path: Path) -> None:
    async def story() -> None:
        async with signalling(worker, "127.0.0.1") as running:
            before = len(running.events("CallStarted"))
            said = await call(running, tmp_path, "--clear")
            assert said["status"] == 488 and "CONFIRMED" not in said["states"]
            assert len(running.events("CallStarted")) == before

    asyncio.run(story())
