"""The signalling daemon's control socket: drain on, drain off, and how it stands.

1. `sip.drain`: from now on a new INVITE and OPTIONS get 503 with Retry-After; live calls go on and end as they like.
2. A file says so, for the health page and for this daemon's successor: a restart in the middle of a drain goes on draining.

docs/architecture.md, "SIP control". Invariant: a drain ends no call, and refuses nothing within one.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from callseal.config.folders import users_of
from callseal.config.settings import Config
from callseal.errors import RequestError
from callseal.model.clock import format_time
from callseal.model.message import Message
from callseal.net.control_server import ControlServer
from callseal.sip.recorder import Recorder
from callseal.store.files import write_atomic

Report = Callable[[str, str | None, dict[str, Any]], None]


class SipControl:
    """Serves `config.sip_socket`."""

    def __init__(self, config: Config, recorder: Recorder, report: Report) -> None:
        """A drain that was under way is taken up again."""
        self._file, self._recorder, self._report = config.draining_file, recorder, report
        self._server = ControlServer(config.sip_socket, self._handle, lambda _connection: None, users_of())
        self._since: str | None = None
        with suppress(OSError, ValueError, KeyError):
            self._since = str(json.loads(self._file.read_text(encoding="utf-8"))["since"])
        recorder.draining = self._since is not None

    async def start(self) -> None:
        """Begin to listen."""
        await self._server.start()

    async def close(self) -> None:
        """Listen no more."""
        await self._server.close()

    async def _handle(self, request: Message, _connection: int) -> Message:
        match request["type"]:
            case "sip.drain":
                on = request.get("on")
                if not isinstance(on, bool):
                    raise RequestError("on: expected true or false")
                if on != self._recorder.draining:
                    self._turn(on)
            case "sip.status":
                pass
            case other:
                raise RequestError(f"type: expected sip.drain or sip.status, got {str(other)[:40]}")
        live = [dialog.started_at for dialog in self._recorder.sessions.dialogs.all()]
        oldest = format_time(min(live)) if live else None
        return {"draining": self._recorder.draining, "since": self._since, "live": len(live), "oldest": oldest}

    def _turn(self, on: bool) -> None:
        """Step 2 comes first: what a crash would forget was not promised."""
        if on:
            self._since = format_time(datetime.now(UTC))
            write_atomic(self._file, json.dumps({"since": self._since}).encode())
        else:
            self._since = None
            self._file.unlink(missing_ok=True)
        self._recorder.draining = on
        self._report("DrainBegan" if on else "DrainEnded", None, {"count": len(self._recorder.sessions.dialogs)})
