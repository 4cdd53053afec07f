"""Where fuzzing begins: `python -m fuzz.seeds` writes a small input for each shape that phone systems send, and true packets.

The rest of `fuzz/corpus/` is what fuzzing has found: inputs that reached something new, and those that once broke something.
"""

import struct
from collections.abc import Iterator

from pylibsrtp import Policy, Session

from callseal.sip.message import MessageReader
from callseal.sip.multipart import read_body
from fuzz.inputs import CORPUS
from fuzz.targets import CM, GCM, KEYS
from tests import sip_rig as rig
from tests import vendor_messages as vendors

PROFILES = {CM: Policy.SRTP_PROFILE_AES128_CM_SHA1_80, GCM: Policy.SRTP_PROFILE_AEAD_AES_256_GCM}


def signalling() -> Iterator[tuple[str, str, bytes]]:
    """Each sender's INVITE, its body, its SDP and its metadata; a whole call; a built-in bridge's two INVITEs."""
    for shape in vendors.SHAPES:
        text = shape.write(True, shape.name).encode()
        (message,) = MessageReader().feed(text)
        content_type = message.get("content-type")
        body = read_body(content_type, message.body)
        yield "sip", shape.name, b"\xff" + text
        yield "multipart", shape.name, f"{content_type}\n".encode() + message.body
        yield "sdp", shape.name, body.sdp or b""
        yield "metadata", shape.name, body.metadata or b""
    call = [rig.request("INVITE", "c", body=rig.multipart(rig.sdp())), rig.request("OPTIONS", "o"), rig.request("BYE", "c", 2)]
    yield "sip", "call", b"\x05" + "".join(call).encode()
    yield "sip", "bridge", b"\x09" + (vendors.cisco_ucm("n", "near") + vendors.cisco_ucm("f", "far")).encode()
    yield "metadata", "bridge", vendors.cisco_ucm("n", "near").split("From: ")[1].split("\r\n")[0].encode()


def voice() -> Iterator[tuple[str, str, bytes]]:
    """Batches of true packets and true reports under the fuzzers' keys."""
    for name, suite in (("cm", CM), ("gcm", GCM)):
        sender = Session(Policy(key=KEYS[suite], ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=PROFILES[suite]))
        plain = [struct.pack(">BBHII", 0x80, 8, 65530 + at & 0xFFFF, 160 * at, 7) + bytes(20) for at in range(9)]
        packets = [sender.protect(packet) for packet in plain]
        yield "rtp", name, b"\0" + b"".join(struct.pack(">H", len(packet)) + packet for packet in packets for _ in range(3))
        report = struct.pack(">BBHIIIIII", 0x80, 200, 6, 7, 1, 2, 3, 4, 5)
        yield "srtcp", name, b"\0" + sender.protect_rtcp(report)


def main() -> None:
    """Write them all."""
    for target, name, data in (*signalling(), *voice()):
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"seed-{name}").write_bytes(data)


if __name__ == "__main__":
    main()
