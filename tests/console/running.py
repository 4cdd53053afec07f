"""A console that really runs on a port of its own, and a client that behaves as a browser without scripts."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pyotp

from callseal.config.settings import Config
from callseal.console.parts import Parts
from callseal.store import schema
from tests.console.custodian import Person, TestCustodian


@dataclass
class RunningConsole:
    """A console on a port of its own, with what a test wants to look behind."""

    url: str
    config: Config
    custodian: TestCustodian
    parts: Parts
    noted: list[tuple[str, str | None, dict[str, Any]]]
    offset_seconds: list[float]
    app: Any

    def pass_time(self, seconds: float) -> None:
        """Let the console's clock go on."""
        self.offset_seconds[0] += seconds

    def client(self) -> httpx.Client:
        """A browser without scripts: it sends our own Origin, keeps cookies and follows nothing."""
        return httpx.Client(base_url=self.url, headers={"Origin": self.url}, timeout=20)

    @contextmanager
    def sign_in(self, person: Person) -> Iterator[httpx.Client]:
        """A client signed in by password and code, carrying its page token."""
        with self.client() as client:
            self._sign_in(client, person)
            yield client

    @staticmethod
    def _sign_in(client: httpx.Client, person: Person) -> None:
        nonce = client.post("/api/signin/begin", json={}).json()["nonce"]
        proof = {"nonce": nonce, "name": person.name, "password": person.password, "code": pyotp.TOTP(person.seed).now()}
        answer = client.post("/api/signin/finish", json=proof)
        assert answer.status_code == 200, answer.text
        page = client.get("/calls").text
        client.headers["X-Callseal-Page"] = page.split('name="callseal-page" content="')[1].split('"')[0]

    def add_call(self, state: str = "sealed", duration_ms: int = 3000, minutes_ago: int = 0, **columns: Any) -> str:
        """A call in the database, as the watcher writes it; returns its recording id."""
        recording = secrets.token_hex(16)
        legs = [
            {
                "number": number, "label": str(number), "party": party, "codec": "PCMA", "suite": "AEAD_AES_256_GCM",
                "protection": "measured", "detail": "",
            }
            for number, party in ((1, "customer"), (2, "staff"))
        ]  # fmt: skip
        row = {
            "recording": recording, "peer": "main-pbx", "recording_class": "default", "state": state,
            "started_at": datetime.now(UTC) - timedelta(minutes=minutes_ago), "duration_ms": duration_ms,
            "sealed_through_ms": duration_ms, "parts": 1, "legs": legs, "transport": "TLSv1.3", "counts": {}, "held": False,
            "purpose": "quality and training", "lawful_basis": "legitimate interests",
            "delete_by": datetime.now(UTC) + timedelta(days=90),
        } | columns  # fmt: skip
        with self.parts.database.write() as connection:
            connection.execute(schema.calls.insert().values(**row))
        return recording
