"""Debian's coturn with our configuration: who may use it, whom it reaches, and what it keeps."""

import asyncio
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aioice import stun, turn

from callseal.config.settings import Config
from callseal.daemons.first_start import choose_ports
from callseal.daemons.turn import PRIVATE_RANGES, answers_stun, prepare_turn_secret, write_settings
from callseal.errors import ConfigError
from callseal.webrtc.turn import make_credential
from tests.private_peer import SECRET, free_port

pytestmark = pytest.mark.real


def config_for(folder: Path, host: str, port: int) -> Config:
    config = Config()
    return replace(config, data=folder, private=replace(config.private, turn_host=host, turn_port=port))


@contextmanager
def relay(folder: Path, host: str) -> Iterator[int]:
    """coturn with the settings for this host, moved to loopback: its rules are those of that host."""
    port = free_port()
    (folder / "turn").mkdir(parents=True)
    settings = write_settings(config_for(folder, host, port), SECRET).replace(f"-ip={host}", "-ip=127.0.0.1")
    (folder / "turn" / "turnserver.conf").write_text(settings)
    process = subprocess.Popen(
        ["turnserver", "-c", str(folder / "turn" / "turnserver.conf")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + 15
        while not answers_stun("127.0.0.1", port):
            assert process.poll() is None and time.monotonic() < end
        yield port
    finally:
        process.terminate()
        process.wait(10)


class Ear(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()
        self.lost = asyncio.Event()

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set()

    def error_received(self, error: Exception) -> None:
        return

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self.heard.put_nowait(data)


async def reaches(port: int, seconds: float, *, secret: str = SECRET, at: datetime | None = None) -> bool:
    """Whether a datagram through the relay reaches a listener on loopback. Raises what the relay answers."""
    loop = asyncio.get_running_loop()
    listening, ear = await loop.create_datagram_endpoint(Ear, local_addr=("127.0.0.1", 0))
    made = make_credential(secret, [], at or datetime.now(UTC))
    try:
        transport, mine = await turn.create_turn_endpoint(
            Ear, server_addr=("127.0.0.1", port), username=made["username"], password=made["credential"], lifetime=60
        )
        transport.sendto(b"hello", listening.get_extra_info("sockname"))
        try:
            return await asyncio.wait_for(ear.heard.get(), seconds) == b"hello"
        except TimeoutError:
            return False
        finally:
            transport.close()
            await asyncio.wait_for(mine.lost.wait(), 10)
    finally:
        listening.close()
        await asyncio.wait_for(ear.lost.wait(), 10)


def test_on_loopback_it_relays_for_who_has_a_credential_and_for_nobody_else(tmp_path: Path) -> None:
    with relay(tmp_path, "127.0.0.1") as port:
        assert asyncio.run(reaches(port, 5))
        for secret, at in (("f" * 64, None), (SECRET, datetime.now(UTC) - timedelta(hours=3))):
            with pytest.raises(stun.TransactionFailed):
                asyncio.run(reaches(port, 1, secret=secret, at=at))
        kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".conf")
        assert b"hello" not in kept


def test_on_a_public_address_no_private_range_is_reached(tmp_path: Path) -> None:
    with relay(tmp_path, "203.0.113.10") as port:
        assert not asyncio.run(reaches(port, 1.0))


def test_every_private_range_is_denied_in_the_settings_and_in_the_example(tmp_path: Path) -> None:
    settings = write_settings(config_for(tmp_path, "203.0.113.10", 3478), SECRET)
    assert "allow-loopback-peers" not in settings
    example = (Path(__file__).parents[2] / "deploy" / "coturn" / "turnserver.conf").read_text()
    for one in PRIVATE_RANGES:
        assert f"denied-peer-ip={one}\n" in settings
        assert one.startswith("203.0.113.") or f"denied-peer-ip={one}\n" in example
    for line in ("use-auth-secret", "no-cli", "no-tcp-relay", "no-multicast-peers", "log-file=/dev/null"):
        assert f"{line}\n" in settings and f"{line}\n" in example


def test_a_shared_secret_is_made_once_and_must_be_long_and_private(tmp_path: Path) -> None:
    config = config_for(tmp_path, "127.0.0.1", 3478)
    assert prepare_turn_secret(config) == prepare_turn_secret(config)
    assert config.turn_secret.stat().st_mode & 0o077 == 0
    mine = tmp_path / "mine"
    mine.write_text("short")
    other = replace(config, private=replace(config.private, turn_secret_file=str(mine)))
    with pytest.raises(ConfigError):
        prepare_turn_secret(other)
    mine.write_text("x" * 40)
    mine.chmod(0o644)
    with pytest.raises(ConfigError):
        prepare_turn_secret(other)
    mine.unlink()
    with pytest.raises(ConfigError):
        prepare_turn_secret(other)


def test_a_port_that_is_taken_is_another_one_in_a_trial_and_an_error_otherwise(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config = config_for(tmp_path, "127.0.0.1", port)
        config = replace(config, private=replace(config.private, enabled=True, port=0))
        config = replace(config, sip=replace(config.sip, port=0), web=replace(config.web, port=0))
        with pytest.raises(ConfigError, match="turn_port"):
            choose_ports(config, anywhere=False)
        assert choose_ports(config, anywhere=True).private.turn_port not in (0, port)
