"""Clock → what the custodian's own state says is due and not held → key gone → object gone → certificate.

1. Ask the custodian what is due, and note that it was asked (a row for each group), so that nothing is forgotten by a crash.
2. Let it destroy: it decides by its own clock, policy and holds, and answers with certificates.
3. Keep the certificates.
4. Delete the objects of what was destroyed, and only of that; wipe wrapped keys, sealed metadata and search tokens from the rows.
5. A certificate is `pending` until its day, then `final`.

Source: keys-and-recordings section 6 is its sketch. Invariants: this flow cannot destroy a key, only ask; deleting an object
comes after its key is gone; a held recording keeps its object and its rows.
"""

import hashlib
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, select, update

from callseal.model.call import CallState, PartState
from callseal.model.clock import parse_time
from callseal.model.keyring import Asks
from callseal.store import schema
from callseal.store.database import Database, insert_new
from callseal.store.ledger import mark_held
from callseal.store.objects import ObjectStore, object_path, row_path

ASKED, PENDING, FINAL = "asked", "pending", "final"


class Disposal:
    """The straight line above; call `step` about once a minute."""

    def __init__(self, database: Database, objects: ObjectStore, keyring: Asks) -> None:
        self._database = database
        self._objects = objects
        self._keyring = keyring

    async def step(self, now: datetime) -> int:
        """Steps 1 to 5; returns how many recordings' objects went. Raises Unavailable; call again later."""
        due = (await self._keyring.ask("dispose.due"))["groups"]  # 1
        if due:
            with self._database.write() as connection:
                for group in due:
                    keep_certificate(connection, {"subject": f"group:{group}", "state": ASKED}, now)
            reply = await self._keyring.ask("dispose.run")  # 2
            with self._database.write() as connection:  # 3
                for certificate in reply["certificates"]:
                    keep_certificate(connection, certificate, now)
            due = (await self._keyring.ask("dispose.due"))["groups"]
        gone = await self.delete_destroyed(set(due))  # 4
        self._finish(now)  # 5
        return gone

    async def delete_destroyed(self, still_due: set[str]) -> int:
        """Step 4, for every certificate whose recordings still stand. What the custodian holds is shown as held, and stays."""
        with self._database.read() as connection:
            certificates = connection.execute(select(schema.certificates)).all()
            named = [name for row in certificates for name in _recordings_of(connection, row, still_due)]
        gone = 0
        for recording in dict.fromkeys(named):
            if (await self._keyring.ask("history", recording=recording)).get("holds"):
                with self._database.write() as connection:
                    mark_held(connection, [recording], held=True)
            else:
                self._delete(recording)
                gone += 1
        return gone

    def _delete(self, recording: str) -> None:
        parts = schema.parts
        with self._database.read() as connection:
            numbers = list(connection.scalars(select(parts.c.part).where(parts.c.recording == recording)))
        for number in numbers:
            self._objects.delete(object_path(recording, number))
            self._objects.delete(row_path(recording, number))
        with self._database.write() as connection:
            gone = {"state": PartState.DESTROYED.value, "row": None, "sealed_meta": None, "path": None}
            connection.execute(update(parts).where(parts.c.recording == recording).values(**gone))
            connection.execute(delete(schema.tokens).where(schema.tokens.c.recording == recording))
            calls = update(schema.calls).where(schema.calls.c.recording == recording)
            connection.execute(calls.values(state=CallState.DESTROYED.value))

    def _finish(self, now: datetime) -> None:
        table = schema.certificates
        ripe = (table.c.state == PENDING, table.c.final_on <= now)
        with self._database.read() as connection:
            if connection.scalar(select(table.c.id).where(*ripe).limit(1)) is None:
                return
        with self._database.write() as connection:
            connection.execute(update(table).where(*ripe).values(state=FINAL))


def _recordings_of(connection: Connection, certificate: Row[Any], still_due: set[str]) -> list[str]:
    """The standing recordings that a certificate names; where a crash lost its names, those of the group that is gone."""
    kind, _, name = certificate.subject.partition(":")
    calls = schema.calls
    which: ColumnElement[bool] = calls.c.recording == name
    if kind == "group":
        if name in still_due:
            return []
        which = calls.c.group_name == name
    standing = select(calls.c.recording).where(which, ~calls.c.held, calls.c.state != CallState.DESTROYED.value)
    if kind == "group" and certificate.state != ASKED:
        listed = set(certificate.detail.get("recordings", []))
        return [recording for recording in connection.scalars(standing) if recording in listed]
    return list(connection.scalars(standing))


def keep_certificate(connection: Connection, certificate: dict[str, Any], now: datetime) -> None:
    """Write a certificate; one of the same subject that was only asked for is filled in."""
    table = schema.certificates
    subject = str(certificate["subject"])
    digest = hashlib.sha256(subject.encode()).hexdigest()
    values: dict[str, Any] = {
        "state": str(certificate["state"]),
        "detail": certificate,
        "log_index": certificate.get("log_index"),
    }
    values["final_on"] = parse_time(certificate["final_on"]) if certificate.get("final_on") else None
    if not insert_new(connection, table, digest=digest, subject=subject, at=now, **values) and values["state"] != ASKED:
        connection.execute(update(table).where(table.c.digest == digest).values(at=now, **values))
