"""One question to a daemon's control socket, and its answer; for commands."""

import socket
from pathlib import Path
from typing import Any, Final

from callseal.errors import LimitExceeded, PeerError, Unavailable
from callseal.model.message import Message, MessageDecoder, encode_message, raise_refusal

TIMEOUT_SECONDS: Final = 5.0


def ask_daemon(path: Path, kind: str, **fields: Any) -> Message:
    """Send one request and return its reply. Raises the refusal by its kind, Unavailable where nobody answers."""
    decoder = MessageDecoder()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as line:
            line.settimeout(TIMEOUT_SECONDS)
            line.connect(str(path))
            line.sendall(encode_message({"type": kind, "id": 1, **fields}))
            while data := line.recv(1 << 16):
                for reply in decoder.feed(data):
                    raise_refusal(reply)
                    return reply
    except (OSError, PeerError, LimitExceeded) as error:
        raise Unavailable(f"{path.stem}: expected an answer, got none; is `callseal up` running?") from error
    raise Unavailable(f"{path.stem}: expected an answer, and it hung up")
