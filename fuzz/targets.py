"""What is fuzzed: for each parser a function of bytes that raises where a promise is broken, and nothing else.

A parser raises one kind of error; a limit holds; what came before still works after it. The last is checked by a good message.
"""

import json
import struct
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import numpy as np

from callseal.config.peers import Peer
from callseal.errors import NotAcceptable, PeerError, TamperedError
from callseal.model.message import encode_message
from callseal.net.multi_buffer import find_engine
from callseal.rtp.srtcp import SrtcpReceiver
from callseal.rtp.srtp import SrtpReceiver
from callseal.rtp.srtp_crypto import OpenSsl
from callseal.rtp.telephone_event import read_durations
from callseal.rtp.timeline import LATE_MS, Timeline
from callseal.sip.answer import plan_answer, plan_from_late_answer, plan_offer, write_answer
from callseal.sip.crypto_attribute import parse_crypto
from callseal.sip.exchange import Connection, OpenMedia, Output, Report, Send, UpdateMedia, UpdateMeta
from callseal.sip.header import NameAddr, parse_name_addr
from callseal.sip.message import BODY_LIMIT_BYTES, HEAD_LIMIT_BYTES, MessageReader, Request
from callseal.sip.multipart import PART_LIMIT, read_body, read_parts
from callseal.sip.notice import notice_body, notice_offer
from callseal.sip.recorder import Recorder
from callseal.sip.sdp import MEDIA_LIMIT, parse_sdp
from callseal.sip.siprec import PEOPLE_LIMIT, Metadata, describe, find_quiet, merge
from callseal.sip.siprec_from import read_from_metadata
from callseal.sip.siprec_xml import parse_metadata

NOW = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)
PEER = Connection(1, Peer("pbx", frozenset()), ("192.0.2.9", 40000), ("192.0.2.1", 5061), "TLSv1.3 X")
OPTIONS = (
    b"OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TLS h;branch=z9hG4bKafter\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:b@b>\r\n"
    b"Call-ID: after\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
)
CM, GCM = "AES_CM_128_HMAC_SHA1_80", "AEAD_AES_256_GCM"
KEYS = {CM: bytes(range(30)), GCM: bytes(range(44))}
WIDTH = 1600


def sip(data: bytes) -> None:
    """A connection's bytes: read, acted on, media answering; then a good request on another connection is answered."""
    recorder, reader = Recorder("127.0.0.1", 8), MessageReader()
    cut = data[0] * 7 if data else 0
    moment = NOW
    for piece in (data[:cut], data[cut:]):
        for message in reader.feed(piece):
            moment += timedelta(milliseconds=300)
            for output in recorder.receive(PEER, message, moment):
                _check_wire(output)
                if isinstance(output, OpenMedia):
                    recorder.media_answered(output.recording, [20000] * len(output.request["streams"]), moment)
                elif isinstance(output, UpdateMedia):
                    recorder.media_failed(output.recording, moment)
    assert len(reader._buffer) <= HEAD_LIMIT_BYTES + BODY_LIMIT_BYTES + len(data)
    recorder.tick(moment + timedelta(seconds=1))
    (message,) = MessageReader().feed(OPTIONS)
    (answer,) = recorder.receive(PEER, message, moment)
    assert isinstance(answer, Send) and answer.data.startswith(b"SIP/2.0 200")


def _check_wire(output: Output) -> None:
    """What goes to other processes can be written: orders and events are JSON in UTF-8."""
    match output:
        case OpenMedia():
            encode_message({"type": "media.open", **output.request})
        case UpdateMedia():
            encode_message({"type": "media.update", "streams": output.streams})
        case UpdateMeta():
            encode_message({"type": "media.meta", "meta": output.meta})
        case Report():
            json.dumps(output.data, ensure_ascii=False).encode()


def multipart(data: bytes) -> None:
    """A Content-Type (first line) and a body: never an error, never more parts than the limit."""
    head, _, content = data.partition(b"\n")
    content_type = head.decode("utf-8", "surrogateescape").strip()
    body = read_body(content_type, content)
    assert len(read_parts(content_type, content)) <= PART_LIMIT
    request = Request("INVITE", "sip:a@b", (("content-type", content_type),), content)
    notice_body(request, body)


def sdp(data: bytes) -> None:
    """An offer: PeerError or a description; then NotAcceptable or an answer that reads as SDP, with every m-line."""
    for line in data.split(b"\n")[:40]:
        if line.startswith(b"a=crypto:"):
            with suppress(PeerError):
                parse_crypto(line[9:].decode("utf-8", "surrogateescape"))
    try:
        offer = parse_sdp(data)
    except PeerError:
        return
    assert 1 <= len(offer.media) <= MEDIA_LIMIT
    notice_offer(offer, Metadata())
    with suppress(NotAcceptable):
        plan_from_late_answer(plan_offer(2), offer)
    try:
        plan = plan_answer(offer)
    except NotAcceptable:
        return
    answer = parse_sdp(write_answer(plan, [20000] * len(plan.streams), "192.0.2.1", 1, 1))
    assert [(media.kind, media.label) for media in answer.media] == [(media.kind, media.label) for media in offer.media]
    plan_answer(offer, plan)


def metadata(data: bytes) -> None:
    """A document, and the same after a known one: never an error, what is sealed of it is JSON within limits."""
    first = parse_metadata(data)
    known = merge(Metadata(), parse_metadata(KNOWN))
    merged = merge(known, first)
    find_quiet(frozenset("1"), known, merged)
    for document in (first, merged):
        assert len(document.participants) <= PEOPLE_LIMIT and len(document.labels) <= 2 * PEOPLE_LIMIT
        json.dumps(describe(document)).encode()
    address = NameAddr("", "", {})
    with suppress(PeerError):
        address = parse_name_addr(data[:2000].decode("utf-8", "surrogateescape"))
    read_from_metadata(address)


KNOWN = (
    b'<recording xmlns="urn:ietf:params:xml:ns:recording:1"><participant participant_id="p1"><nameID aor="sip:a@b"/>'
    b"</participant>"
    b'<stream stream_id="s1"><label>1</label></stream><participantstreamassoc participant_id="p1"><send>s1</send>'
    b"</participantstreamassoc></recording>"
)

ENGINES = [OpenSsl(), find_engine()[0]]


def rtp(data: bytes) -> None:
    """A batch of packets on streams of both kinds of suite: nothing raises, nothing opens that its key did not seal."""
    receiver = SrtpReceiver(4, ENGINES[data[0] >> 7 if data else 0])
    receiver.add_stream(0, CM, KEYS[CM])
    receiver.add_stream(1, GCM, KEYS[GCM], mki_bytes=data[0] % 5 if data else 0)
    receiver.add_stream(2, CM, KEYS[CM], resume=True)
    receiver.rekey(2, GCM, KEYS[GCM])
    pieces = []
    at = 1
    while at + 2 <= len(data) and len(pieces) < 24:
        (length,) = struct.unpack_from(">H", data, at)
        pieces.append(data[at + 2 : at + 2 + length % 300])
        at += 2 + length % 300
    timeline = Timeline(4)
    for batch in (pieces[:8], pieces[8:], pieces[:3]):
        packets = np.zeros((len(batch), WIDTH), np.uint8)
        for row, piece in enumerate(batch):
            packets[row, : len(piece)] = np.frombuffer(piece, np.uint8)
        lengths = np.array([len(piece) for piece in batch], np.int64)
        frames = receiver.unprotect(packets, lengths, np.arange(len(batch), dtype=np.int64) % 3)
        assert (frames.length >= 0).all() and (frames.length <= WIDTH).all()
        if len(frames):
            arrived = np.full(len(frames), 30_000, np.int64)
            at_ms = timeline.place(frames, receiver, arrived, np.full(len(frames), 8000, np.int64))
            assert (at_ms >= 30_000 - LATE_MS).all()
            read_durations(frames.payload, frames.length)
    assert int(receiver.packets.sum() + receiver.failed.sum() + receiver.replayed.sum()) <= len(pieces) + 3


def srtcp(data: bytes) -> None:
    """One report under each suite: TamperedError or, where its tag verifies, the report; the second time never."""
    for suite, key in KEYS.items():
        receiver = SrtcpReceiver(suite, key, data[0] % 5 if data else 0)
        try:
            receiver.unprotect(data[1:])
        except TamperedError:
            continue
        with suppress(TamperedError):
            receiver.unprotect(data[1:])
            raise AssertionError("a report was taken twice")


def planted(data: bytes) -> None:
    """The positive control: a fault behind four bytes, found only by one who sees which byte brought it further."""
    for at, expected in enumerate(b"CSR1"):
        if at >= len(data) or data[at] != expected:
            return
        STEPS[at]()
    raise ValueError("planted")


STEPS = (lambda: 1, lambda: 2, lambda: 3, lambda: 4)
"""A line of its own for each byte, so that reaching it is seen."""


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (sip, multipart, sdp, metadata, rtp, srtcp, planted)
}
LONGEST: dict[str, int] = {"rtp": 4096, "srtcp": 400}
"""The longest input that is tried; 12,000 bytes where nothing is said."""
