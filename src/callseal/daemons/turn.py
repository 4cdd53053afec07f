"""The relay: Debian's coturn under our supervision, with a configuration of ours and none of its own services.

RFC 8656; coturn's `turnserver`. 1. Write `turn/turnserver.conf` from the settings. 2. Start it and wait until it answers a
STUN binding request (RFC 8489). 3. End it when we end. Invariants: it logs no address and no name; private ranges are refused
as peers unless the relay itself stands on loopback, for a trial on one machine; each credential lives hours, and names nobody.
"""

import asyncio
import ipaddress
import os
import secrets
import shutil
import socket
from pathlib import Path

from callseal.config.settings import Config
from callseal.daemons.lifecycle import Lifecycle, start
from callseal.daemons.process import die_with_parent
from callseal.errors import ConfigError, Unavailable
from callseal.store.files import make_folder, write_atomic

SECRET_BYTES = 32
READY_SECONDS = 15.0
STOP_SECONDS = 5.0
PRIVATE_RANGES = (
    "0.0.0.0-0.255.255.255", "10.0.0.0-10.255.255.255", "100.64.0.0-100.127.255.255", "127.0.0.0-127.255.255.255",
    "169.254.0.0-169.254.255.255", "172.16.0.0-172.31.255.255", "192.0.0.0-192.0.0.255", "192.0.2.0-192.0.2.255",
    "192.88.99.0-192.88.99.255", "192.168.0.0-192.168.255.255", "198.18.0.0-198.19.255.255", "198.51.100.0-198.51.100.255",
    "203.0.113.0-203.0.113.255", "240.0.0.0-255.255.255.255", "::1", "::ffff:0:0-::ffff:ffff:ffff",
    "64:ff9b::-64:ff9b::ffff:ffff", "fc00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "fe80::-febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
)  # fmt: skip
"""RFC 6890: what no customer may reach through our relay (coturn issue 1195)."""


def find_coturn() -> str | None:
    """Where Debian's `turnserver` is; None where coturn is not installed."""
    return shutil.which("turnserver", path=f"{os.environ.get('PATH', '')}:/usr/bin:/usr/sbin")


def prepare_turn_secret(config: Config) -> str:
    """The secret shared with coturn; made at the first start where it is ours. Raises ConfigError where it cannot be read."""
    path = config.turn_secret
    try:
        if not path.exists() and not config.private.turn_secret_file:
            make_folder(path.parent)
            write_atomic(path, secrets.token_hex(SECRET_BYTES).encode())
        secret = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"private.turn_secret_file: expected a secret that can be read at {path}") from error
    if len(secret) < SECRET_BYTES or path.stat().st_mode & 0o007:
        raise ConfigError("private.turn_secret_file: expected at least 32 characters that others cannot read")
    return secret


def write_settings(config: Config, secret: str) -> str:
    """coturn's configuration. The file holds the shared secret: it is written for its owner alone."""
    private, folder = config.private, config.data / "turn"
    loopback = ipaddress.ip_address(private.turn_host).is_loopback
    lines = [
        f"listening-ip={private.turn_host}", f"relay-ip={private.turn_host}", f"listening-port={private.turn_port}",
        "fingerprint", "use-auth-secret", f"static-auth-secret={secret}", "realm=callseal", "stale-nonce=600",
        "no-cli", "no-tls", "no-dtls", "no-tcp-relay", "no-multicast-peers", "no-software-attribute", "no-rfc5780",
        "user-quota=4", "total-quota=2000", "max-bps=64000", f"pidfile={folder / 'turnserver.pid'}",
        f"userdb={folder / 'turn.db'}",         "log-file=/dev/null", "simple-log", "no-stdout-log",
    ]  # fmt: skip
    if private.turn_external_ip:
        lines.append(f"external-ip={private.turn_external_ip}")
    lines += ["allow-loopback-peers"] if loopback else [f"denied-peer-ip={one}" for one in PRIVATE_RANGES]
    return "\n".join(lines) + "\n"


def run(config: Config) -> int:
    """Keep coturn until stopped; returns the exit code. Raises ConfigError where it is not installed."""
    lifecycle = start("turn", config)
    program = find_coturn()
    if program is None:
        raise ConfigError("turn: expected Debian's coturn; apt-get install coturn")
    folder = config.data / "turn"
    make_folder(folder)
    settings = folder / "turnserver.conf"
    write_atomic(settings, write_settings(config, prepare_turn_secret(config)).encode())
    lifecycle.confine(write=[config.run, folder], listen=True, connect=True)
    return lifecycle.run(lambda: _keep(lifecycle, config, program, settings))


async def _keep(lifecycle: Lifecycle, config: Config, program: str, settings: Path) -> int:
    process = await asyncio.create_subprocess_exec(
        program, "-c", str(settings), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL, preexec_fn=die_with_parent,
    )  # fmt: skip
    ended = asyncio.create_task(process.wait())
    stopped = asyncio.create_task(lifecycle.stopping.wait())
    try:
        await _wait_answer(config, ended)
        lifecycle.ready(f"{config.private.turn_host}:{config.private.turn_port}")
        await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()
    return 0 if lifecycle.stopping.is_set() else 70


async def _wait_answer(config: Config, ended: "asyncio.Task[int]") -> None:
    """Ask for a binding until it answers. Raises Unavailable."""
    end = asyncio.get_running_loop().time() + READY_SECONDS
    while asyncio.get_running_loop().time() < end and not ended.done():
        if await asyncio.to_thread(answers_stun, config.private.turn_host, config.private.turn_port):
            return
        await asyncio.sleep(0.1)
    raise Unavailable("turn: coturn did not start; is its port free?")


def answers_stun(host: str, port: int, timeout_seconds: float = 0.5) -> bool:
    """Whether a STUN server answers there (a binding request, RFC 8489 section 6)."""
    request = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + os.urandom(12)
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(timeout_seconds)
        try:
            probe.connect((host, port))
            probe.send(request)
            return probe.recv(2048)[8:20] == request[8:]
        except OSError:
            return False
