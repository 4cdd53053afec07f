"""Everything after the handshake: ICE restart, hold, hang up. Each message is MACed, counted, and may weaken nothing.

docs/spec/private-call.md section 5, "Later messages". Invariants: fingerprint and policy are those of the handshake, for the
call's whole life; numbers of each direction go up by one; the first refusal ends the call.
"""

import hmac
from dataclasses import dataclass
from typing import Any

from callseal.errors import RequestError
from callseal.model.message import to_bytes, to_text
from callseal.webrtc.handshake import Peer
from callseal.webrtc.message import WITH_SDP, read_later
from callseal.webrtc.refusal import Refused
from callseal.webrtc.schedule import Side, digest
from callseal.webrtc.sdp import check_sdp
from callseal.webrtc.shape import spell


@dataclass(frozen=True)
class Sent:
    """One later message as it travels."""

    message: str
    mac: str
    sdp: str | None


class Later:
    """The rest of one call, seen from one side. `fingerprint` is our own certificate's."""

    def __init__(self, side: Side, call: bytes, peer: Peer, fingerprint: str) -> None:
        self._side: Side = side
        self._other: Side = "agent" if side == "customer" else "customer"
        self._call, self._peer, self._fingerprint = call, peer, fingerprint
        self._sent = self._received = 0
        self._offered = self._answered = 0
        self._heard_offer = 0
        self._over = False

    def send(self, kind: str, sdp: str | None = None) -> Sent:
        """Our next message. Raises Refused where our own SDP breaks the rules."""
        if sdp is not None and check_sdp(sdp, kind, relay=bool(self._peer.policy["relay"])) != self._fingerprint:
            raise Refused("fingerprint", f"{kind}: expected our own certificate's")
        self._sent += 1
        if kind == "offer":
            self._offered = self._sent
        message = spell({
            "v": 1, "call": to_text(self._call), "n": self._sent, "kind": kind, "fp": self._fingerprint,
            "re": self._heard_offer if kind == "answer" else None,
            "sdp_hash": to_text(digest(sdp)) if sdp is not None else None, "policy": dict(self._peer.policy),
        })  # fmt: skip
        return Sent(message, to_text(self._peer.keys.later_mac(self._side, message)), sdp)

    def receive(self, sent: Sent) -> dict[str, Any] | None:
        """The verified members of the peer's next message; None for an answer that a newer offer overtook.

        Raises Refused, and then for good.
        """
        if self._over:
            raise Refused("replayed", "later message: expected none after the end")
        self._over = True
        later = self._verify(sent)
        self._over = later is not None and later["kind"] == "bye"
        return later

    def _verify(self, sent: Sent) -> dict[str, Any] | None:
        later = read_later(sent.message)
        expected = self._peer.keys.later_mac(self._other, sent.message)
        try:
            given = to_bytes(sent.mac, "mac")
        except RequestError as error:
            raise Refused("malformed", "mac: expected base64url") from error
        if not hmac.compare_digest(expected, given):
            raise Refused("mac", "later message: expected a MAC under this call's keys")
        if to_bytes(later["call"], "call") != self._call:
            raise Refused("wrong-call", "later message: expected one of this call")
        if later["n"] != self._received + 1:
            raise Refused("replayed", "later message: expected the next number")
        self._received += 1
        if later["fp"] != self._peer.fingerprint:
            raise Refused("fingerprint", "later message: expected the fingerprint of the handshake")
        if later["policy"] != dict(self._peer.policy):
            raise Refused("policy", "later message: expected the policy of the handshake")
        if later["kind"] in WITH_SDP:
            self._check_sdp(later, sent.sdp)
        return later if self._is_due(later) else None

    def _is_due(self, later: dict[str, Any]) -> bool:
        """Offers come from the customer, answers once to an offer of ours; False for one that a newer offer overtook."""
        kind = later["kind"]
        if (kind == "offer" and self._other != "customer") or (kind == "please" and self._other != "agent"):
            raise Refused("replayed", f"{kind}: expected it from the other side alone")
        if kind == "offer":
            self._heard_offer = later["n"]
        if kind != "answer":
            return True
        if later["re"] > self._offered or later["re"] <= self._answered:
            raise Refused("replayed", "answer: expected one to an open offer")
        self._answered = later["re"]
        return bool(later["re"] == self._offered)

    def _check_sdp(self, later: dict[str, Any], sdp: str | None) -> None:
        if sdp is None or not hmac.compare_digest(digest(sdp), to_bytes(later["sdp_hash"], "sdp_hash")):
            raise Refused("sdp-changed", "SDP: expected the one that its sender hashed")
        if check_sdp(sdp, later["kind"], relay=bool(self._peer.policy["relay"])) != self._peer.fingerprint:
            raise Refused("fingerprint", "SDP: expected the fingerprint of the handshake")
