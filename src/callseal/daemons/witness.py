"""The witness daemon: it has seen one log, and cosigns only what extends it. Best on another machine, by another's hand.

C2SP tlog-witness over HTTP; the rule is `audit.witness`. 1. Read key, state and the log's key (taken at the first start, and
kept). 2. Answer `POST /add-checkpoint`, one after another: decide, keep the new state durably, then answer. Invariant: a
cosignature leaves only after the state that it stands for is on disk, so that a kill never lets it sign two histories.
"""

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from callseal.audit.cosignature import CosignatureVerifier
from callseal.audit.note import Verifier, parse_vkey
from callseal.audit.witness import BODY_LIMIT_BYTES, Reply, Seen, add_checkpoint
from callseal.config.settings import Config
from callseal.daemons.lifecycle import start
from callseal.errors import ConfigError, TamperedError
from callseal.store.files import make_folder, write_atomic

NAME = "callseal-witness"


@dataclass
class Witness:
    """A key, the log it knows, and what it has seen of it; `folder` holds all three."""

    folder: Path
    key: Ed25519PrivateKey
    log: Verifier
    seen: Seen
    name: str = NAME

    def answer(self, body: bytes, now: datetime) -> Reply:
        """Decide, keep, answer. Raises OSError where the state cannot be kept: then nothing was signed."""
        reply = add_checkpoint(body, self.log, self.seen, self.name, self.key, now)
        if reply.state is not None:
            state = {"size": reply.state.size, "root": reply.state.root.hex(), "sequence": reply.state.sequence}
            write_atomic(self.folder / "state.json", json.dumps(state).encode())
            self.seen = reply.state
        return reply

    @property
    def vkey(self) -> str:
        """The verifier key that the manifest lists."""
        return CosignatureVerifier(self.name, self.key.public_key().public_bytes_raw()).vkey()


def open_witness(folder: Path, log_vkey: str, name: str = NAME) -> Witness:
    """The witness of this folder; made where there is none. Raises ConfigError where it knows another log, TamperedError."""
    make_folder(folder)
    seed = folder / "witness.key"
    if not seed.exists():
        write_atomic(seed, os.urandom(32).hex().encode())
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed.read_text(encoding="ascii")))
    pinned = folder / "log.vkey"
    if not pinned.exists():
        write_atomic(pinned, f"{log_vkey.strip()}\n".encode())
    if pinned.read_text(encoding="utf-8").strip() != log_vkey.strip():
        raise ConfigError("witness: expected the log that it has seen before, got another")
    try:
        kept = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        seen = Seen(int(kept["size"]), bytes.fromhex(kept["root"]), int(kept["sequence"]))
    except FileNotFoundError:
        seen = Seen()
    except (ValueError, KeyError, TypeError) as error:
        raise TamperedError("witness: expected the state that it kept") from error
    return Witness(folder, key, parse_vkey(log_vkey.strip()), seen, name)


def make_witness_app(witness: Witness) -> Starlette:
    """`POST /add-checkpoint`, and `GET /vkey` for whoever sets it up."""
    turn = asyncio.Lock()

    async def add(request: Request) -> Response:
        if int(request.headers.get("content-length", BODY_LIMIT_BYTES + 1)) > BODY_LIMIT_BYTES:
            return Response("body: too long\n", 413)
        body = await request.body()
        async with turn:
            reply = await asyncio.to_thread(witness.answer, body, datetime.now(UTC))
        return Response(reply.body, reply.status, media_type=reply.kind)

    async def vkey(request: Request) -> Response:
        return Response(f"{witness.vkey}\n", media_type="text/plain")

    return Starlette(routes=[Route("/add-checkpoint", add, methods=["POST"]), Route("/vkey", vkey)])


async def serve_witness(witness: Witness, listener: socket.socket, stopping: Callable[[], Awaitable[Any]]) -> None:
    """Serve until `stopping` returns."""
    settings = uvicorn.Config(make_witness_app(witness), log_config=None, access_log=False, server_header=False, ws="none")
    server = uvicorn.Server(settings)
    serving = asyncio.create_task(server._serve([listener]))
    waiting = asyncio.ensure_future(stopping())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await serving


def run(config: Config) -> int:
    """The witness on this machine, for a first run: it shows how, and proves little against this machine's own root.

    The custodian has started before and written the log's key. Raises OSError where it has not.
    """
    lifecycle = start("witness", config)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    folder, shown, log = config.data / "witness-state", config.data / "witness-key", config.data / "log"
    for one in (folder, shown, log):
        make_folder(one)
    lifecycle.confine(read=[log], write=[config.run, folder, shown], listen=True)

    async def main() -> int:
        witness = open_witness(folder, (log / "log.vkey").read_text(encoding="utf-8"))
        write_atomic(shown / "witness.vkey", f"{witness.vkey}\n".encode())
        host, port = listener.getsockname()[:2]
        lifecycle.ready(f"{host}:{port}")
        await serve_witness(witness, listener, lifecycle.stopping.wait)
        return 0

    return lifecycle.run(main)
