"""Private calls as the web daemon wires them: the switchboard over the database, the portal, the relay's secret.

docs/spec/private-call.md. Invariant: the secret shared with coturn is the only one that this process holds for private calls,
and it opens no call: it lets a browser use the relay.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from starlette.types import ASGIApp

from callseal.config.settings import Config
from callseal.console.parts import PrivateDesk
from callseal.flows.manifest import read_trust
from callseal.flows.private_call import House, Switchboard
from callseal.keyring.client import Keyring
from callseal.portal.app import Desk, make_app
from callseal.store import private_calls
from callseal.store.database import Database
from callseal.webrtc.turn import make_credential


class DatabaseBook:
    """What outlasts the process, in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, call: str) -> private_calls.Invitation | None:
        """The invitation of a call id."""
        with self._database.read() as connection:
            return private_calls.find_invitation(connection, call)

    def use(self, call: str) -> None:
        """It works no more."""
        with self._database.write() as connection:
            private_calls.use_invitation(connection, call)

    def keep(self, call: private_calls.KeptCall) -> None:
        """That a call was."""
        with self._database.write() as connection:
            private_calls.keep_call(connection, call)


@dataclass(frozen=True)
class PrivateLine:
    """Everything of private calls in this process."""

    desk: PrivateDesk
    portal: ASGIApp
    switchboard: Switchboard

    async def tick(self) -> None:
        """End what waits too long, for as long as the daemon runs."""
        while True:
            await asyncio.sleep(1.0)
            self.switchboard.tick()

    async def stop(self) -> None:
        """Tell those who wait, and keep what is to be kept."""
        self.switchboard.stop()
        with suppress(TimeoutError):
            await asyncio.wait_for(self.switchboard.settle(), 2.0)


def make_private(config: Config, keyring: Keyring, database: Database, secret: str) -> PrivateLine:
    """The switchboard, the staff's desk and the customers' portal."""
    private, data = config.private, config.data

    def ice(now: datetime) -> dict[str, Any]:
        return make_credential(secret, config.turn_urls, now)

    async def trust() -> dict[str, Any]:
        return await read_trust(keyring, data / "log", data / "witness" / "cosigned")

    house = House(config.business, private.keep_days, private.public, ice)
    switchboard = Switchboard(house, DatabaseBook(database), time.monotonic, lambda: datetime.now(UTC))
    portal = make_app(Desk(config.private_origin, tuple(private.page_origins.split()), switchboard, trust, time.monotonic))
    desk = PrivateDesk(switchboard, trust, config.private_origin, private.longest_invitation_days)
    return PrivateLine(desk, portal, switchboard)
