"""A call in a vendor's shape: body parts, boundary, metadata dialect, labels, Contact, hold and end, by `config.vendors`.

RFC 7865 and 7866, and what recording clients were seen to send beside them (docs/spec/phone-systems.md). Always over TLS and
SRTP: the shape is what differs, never the encryption. Written apart from `callseal.sip`, so that each checks the other.
"""

import os
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from xml.sax.saxutils import escape, quoteattr

from callseal.config.vendors import Shape
from callseal.phone.call import Call, Plan
from callseal.phone.line import Destination, Line
from callseal.phone.message import Headers
from callseal.phone.metadata import Participant

GTD = b"IAM,\r\nPRN,isdn*,,\r\nUSI,rate,c,s,c,1\r\n"
"""A third part as Cisco sends one: nothing of a call stands in it."""
_STATIC = ("0", "8", "9", "18")


def write_shape(
    shape: Shape, people: Sequence[Participant], labels: Sequence[str], now: datetime, *, sending: bool = True
) -> bytes:
    """A metadata document in this shape; `sending`: whether anybody sends, or the document tells a pause."""
    return (
        _write_siprec(shape, people, labels, now, sending)
        if shape.dialect == "siprec"
        else _write(shape, people, labels, now, sending)
    )


def write_parts(shape: Shape, offer: bytes, metadata: bytes) -> tuple[str, bytes]:
    """Content-Type and body of an INVITE in this shape."""
    kinds = {"sdp": ("application/sdp", offer), "metadata": (shape.metadata_type, metadata), "gtd": ("application/gtd", GTD)}
    boundary, body = f"uniqueBoundary{os.urandom(4).hex()}", b""
    for name in shape.order:
        kind, content = kinds[name]
        lines = [f"--{boundary}", f"Content-Type: {kind}"]
        lines += ["Content-Disposition: recording-session"] if name == "metadata" else []
        lines += [f"Content-Length: {len(content)}"] if shape.part_length else []
        body += "\r\n".join([*lines, "", ""]).encode() + content + b"\r\n"
    return shape.content_type.format(boundary=boundary), body + f"--{boundary}--\r\n".encode()


def shape_offer(shape: Shape, offer: bytes, *, held: bool = False) -> bytes:
    """The phone's own offer, written as this vendor writes it; its keys stay."""
    lines = offer.decode().split("\r\n")
    connection = next(line for line in lines if line.startswith("c="))
    if held and shape.hold == "zero-address":
        lines = ["c=IN IP4 0.0.0.0" if line == connection else line for line in lines]
    if not shape.rtpmap:
        lines = [line for line in lines if not line.startswith(tuple(f"a=rtpmap:{pt} " for pt in _STATIC))]
    if not shape.session_connection:
        lines = [
            part for line in lines if line != connection for part in ([line, connection] if line.startswith("m=") else [line])
        ]
    wanted = "inactive" if held and shape.hold in ("inactive", "sdp-only") else shape.direction
    lines = [part for line in lines for part in ([f"a={wanted}"] * bool(wanted) if line == "a=sendonly" else [line])]
    return "\r\n".join(lines).encode()


class ShapedCall(Call):
    """One call as a vendor's client makes it."""

    def __init__(
        self, line: Line, destination: Destination, plan: Plan, payloads: Sequence[Sequence[bytes]], call_id: str = ""
    ) -> None:
        assert plan.shape is not None, "a shaped call has a shape"
        self.shape = plan.shape
        super().__init__(line, destination, plan, payloads, call_id)

    def body(self, offer: bytes) -> tuple[str, bytes]:
        """Offer and metadata in the vendor's parts and dialect; a dummy where the true people come later."""
        people = (Participant("sip:dummy@example.com", ""),) if self.shape.dummy_first else self.plan.participants
        return write_parts(self.shape, shape_offer(self.shape, offer), self._document(people))

    async def begin(self) -> None:
        """What follows the INVITE at once: the true people in UPDATE, OPTIONS within the dialog. Raises the refusal."""
        if self.shape.dummy_first:
            await self.require("UPDATE", (("Content-Type", self.shape.metadata_type),), self._document(self.plan.participants))
        if self.shape.ping:
            await self.require("OPTIONS")

    async def hold(self) -> None:
        """Hold, in the vendor's way. Raises the refusal."""
        if self.shape.hold == "info":
            await self.require("INFO", (("X-AC-Action", "pause-siprec"),))
            return
        offer = shape_offer(self.shape, self.offer(), held=True)
        if self.shape.hold == "partial":
            await self.invite(write_parts(self.shape, offer, self._document(self.plan.participants, sending=False)))
        elif self.shape.hold == "sdp-only":
            await self.invite(("application/sdp", offer))
        else:
            await self.invite(write_parts(self.shape, offer, self._document(self.plan.participants)))

    async def resume(self) -> None:
        """Go on. Raises the refusal."""
        if self.shape.hold == "info":
            await self.require("INFO", (("X-AC-Action", "resume-siprec"),))
        else:
            await self.invite(
                write_parts(self.shape, shape_offer(self.shape, self.offer()), self._document(self.plan.participants))
            )

    async def bye(self) -> None:
        """Hang up, with metadata where the vendor sends it. Raises the refusal."""
        headers: Headers = (("Content-Type", self.shape.metadata_type),) if self.shape.bye_metadata else ()
        await self.require("BYE", headers, self._document(self.plan.participants) if self.shape.bye_metadata else b"")

    def invite_headers(self) -> Headers:
        """What this vendor says in an INVITE beside what each must."""
        timer = [("Session-Expires", f"{self.shape.session_expires};refresher=uac")] if self.shape.session_expires else []
        return [*([("Require", "siprec")] if self.shape.require else []), *timer]

    def contact(self, where: str) -> str:
        """Contact in the vendor's form."""
        uri = f"sip:phone@{where};transport=tls"
        forms = {"outside": f"<{uri}>;+sip.src", "inside": f"<{uri};+sip.src>", "bare": f"<{uri}>;src", "none": f"<{uri}>"}
        return forms[self.shape.contact]

    def _document(self, people: Sequence[Participant], *, sending: bool = True) -> bytes:
        return write_shape(self.shape, people, self.plan.labels, datetime.now(UTC), sending=sending)


def _moment(shape: Shape, now: datetime) -> str:
    forms = {"zulu": "%Y-%m-%dT%H:%M:%SZ", "no-zone": "%Y-%m-%dT%H:%M:%S", "offset": "%Y-%m-%dT%H:%M:%S+0000"}
    return "1970-01-01T00:00:00Z" if shape.times == "epoch" else now.astimezone(UTC).strftime(forms[shape.times])


def _aor(shape: Shape, person: Participant) -> str:
    return person.aor.partition(":")[2] if shape.aor == "bare" else person.aor


def _write(shape: Shape, people: Sequence[Participant], labels: Sequence[str], now: datetime, sending: bool) -> bytes:
    """RFC 7865, in the namespace, prefix and times of this shape."""
    p, bind = (f"{shape.prefix}:", f"xmlns:{shape.prefix}") if shape.prefix else ("", "xmlns")
    session, moment = str(uuid.uuid4()), _moment(shape, now)
    ids = [f"p{number}" for number, _ in enumerate(people)]
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<{p}recording {bind}="{shape.namespace}"><{p}datamode>complete</{p}datamode>',
        f'<{p}session session_id="{session}"><{p}start-time>{moment}</{p}start-time></{p}session>',
    ]
    for one, person in zip(ids, people, strict=True):
        name = f"<{p}name>{escape(person.name)}</{p}name>"
        aor = quoteattr(_aor(shape, person))
        lines.append(f'<{p}participant participant_id="{one}"><{p}nameID aor={aor}>{name}</{p}nameID></{p}participant>')
    for number, label in enumerate(labels):
        if not shape.no_streams:
            lines.append(
                f'<{p}stream stream_id="s{number}" session_id="{session}"><{p}label>{escape(label)}</{p}label></{p}stream>'
            )
    for number, one in enumerate(ids):
        sent = f"<{p}send>s{min(number, len(labels) - 1)}</{p}send>" if sending and not shape.no_streams else ""
        lines.append(f'<{p}participantstreamassoc participant_id="{one}">{sent}</{p}participantstreamassoc>')
    return "\n".join([*lines, f"</{p}recording>"]).encode()


def _write_siprec(shape: Shape, people: Sequence[Participant], labels: Sequence[str], now: datetime, sending: bool) -> bytes:
    """The older dialect: `recording_metadata`, ids as elements."""
    moment = _moment(shape, now)
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<recording_metadata xmlns="{shape.namespace}"><dataMode>complete</dataMode>',
        f'<session id="{uuid.uuid4()}"><start-time>{moment}</start-time></session>',
    ]
    for number, person in enumerate(people):
        sent = f"<send><id>s{min(number, len(labels) - 1)}</id></send>" if sending else ""
        lines.append(
            f'<participant id="p{number}"><aor>{escape(person.aor)}</aor><name>{escape(person.name)}</name>{sent}</participant>'
        )
    lines += [f'<stream id="s{number}"><label>{escape(label)}</label></stream>' for number, label in enumerate(labels)]
    return "\n".join([*lines, "</recording_metadata>"]).encode()
