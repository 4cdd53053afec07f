"""What a session description may hold, and the two forms of a link: anything else is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callseal.webrtc.link import Link, read_fragment, write_fragment
from callseal.webrtc.refusal import Refused
from callseal.webrtc.sdp import check_sdp
from tests.private_rig import CUSTOMER_PRINT, sdp

GOOD = sdp(CUSTOMER_PRINT, "offer")
PRINT_LINE = next(line for line in GOOD.split("\r\n") if line.startswith("a=fingerprint"))


def test_what_chromium_writes_passes_and_gives_the_fingerprint() -> None:
    assert check_sdp(GOOD, "offer") == CUSTOMER_PRINT.hex()
    assert check_sdp(sdp(CUSTOMER_PRINT, "answer"), "answer") == CUSTOMER_PRINT.hex()
    assert check_sdp(GOOD.replace("typ relay", "typ host"), "offer", relay=False) == CUSTOMER_PRINT.hex()


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("a second fingerprint", GOOD.replace(PRINT_LINE, f"{PRINT_LINE}\r\n{PRINT_LINE}")),
        ("a second fingerprint of another hash", GOOD.replace(PRINT_LINE, f"{PRINT_LINE}\r\na=fingerprint:sha-1 AB:CD")),
        ("no fingerprint", GOOD.replace(f"{PRINT_LINE}\r\n", "")),
        ("a short fingerprint", GOOD.replace(PRINT_LINE, PRINT_LINE[:-3])),
        ("sha-512", GOOD.replace("sha-256", "sha-512")),
        ("a second audio line", GOOD + "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"),
        ("video", GOOD + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n"),
        ("a data channel", GOOD + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"),
        ("RTP in the clear", GOOD.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP")),
        ("two payload types", GOOD.replace("SAVPF 111", "SAVPF 111 63")),
        ("redundant audio", GOOD + "a=rtpmap:63 red/48000/2\r\n"),
        ("comfort noise", GOOD.replace("opus/48000/2", "CN/8000")),
        ("no constant rate", GOOD.replace("cbr=1;", "")),
        ("a variable rate", GOOD.replace("cbr=1", "cbr=0")),
        ("both rates", GOOD.replace("cbr=1", "cbr=1;cbr=0")),
        ("silence suppressed", GOOD.replace("usedtx=0", "usedtx=1")),
        ("speech levels", GOOD.replace("urn:ietf:params:rtp-hdrext:sdes:mid", "urn:ietf:params:rtp-hdrext:ssrc-audio-level")),
        ("speech levels beside the mid", GOOD + "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n"),
        ("our own address", GOOD.replace("typ relay raddr 0.0.0.0 rport 0", "typ host")),
        ("our own address beside the relay's", GOOD + "a=candidate:2 1 udp 1 192.0.2.1 9 typ srflx raddr 10.0.0.1 rport 9\r\n"),
        ("no candidate", GOOD.replace("a=candidate", "a=x-candidate")),
        ("SDES", GOOD + "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAAA\r\n"),
        ("no multiplexing", GOOD.replace("a=rtcp-mux\r\n", "")),
        ("an answer's setup", GOOD.replace("a=setup:actpass", "a=setup:active")),
        ("two setups", GOOD + "a=setup:actpass\r\n"),
        ("bare newlines", GOOD.replace("\r\n", "\n")),
        ("a newline in a line", GOOD.replace("s=-", "s=-\na=fingerprint:sha-256 00")),
        ("no end", GOOD[:-2]),
        ("too long", GOOD + "a=x:" + "x" * 16384 + "\r\n"),
    ],
    ids=lambda value: value if len(value) < 60 else "",
)  # fmt: skip
def test_anything_else_is_refused(name: str, bad: str) -> None:
    assert bad != GOOD, name
    with pytest.raises(Refused) as caught:
        check_sdp(bad, "offer")
    assert caught.value.reason == "sdp"


@given(st.text(max_size=200))
def test_garbage_is_no_description_and_no_link(text: str) -> None:
    with pytest.raises(Refused):
        check_sdp(text, "offer")
    with pytest.raises(Refused) as caught:
        read_fragment(text)
    assert caught.value.reason == "link-damaged"


@given(kid=st.binary(min_size=32, max_size=32), psk=st.binary(min_size=16, max_size=16).filter(any), call=st.binary(min_size=16, max_size=16))
def test_links_read_back_and_a_cut_one_is_damaged(kid: bytes, psk: bytes, call: bytes) -> None:
    public, invitation = Link("public", kid), Link("invitation", kid, psk, call)
    assert read_fragment(write_fragment(public)) == public
    text = write_fragment(invitation)
    assert read_fragment(text) == invitation
    assert repr(invitation) == "Link(invitation)"
    for cut in (text[:-1], text[:40], text + "A", text.replace(".", ",", 1), text.rpartition(".")[0], "#i" + write_fragment(public)[2:]):
        with pytest.raises(Refused):
            read_fragment(cut)


def test_a_secret_of_zeros_is_damaged() -> None:
    with pytest.raises(Refused):
        read_fragment(write_fragment(Link("invitation", bytes(32), bytes(16), bytes(16))))
