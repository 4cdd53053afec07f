"""How the console says things: states, parties, protection, roles, in plain words. No decision stands here.

Invariant: a leg is never called better protected than the event that reported it says; what is unknown reads `not observed`.
"""

from collections.abc import Mapping
from typing import Any, Final

from callseal.model.call import Call, CallState, Leg
from callseal.model.clock import format_time, parse_time
from callseal.model.roles import REASON_CLASSES
from callseal.web.pages import show_moment

STATES: Final = {
    CallState.LIVE: "live now",
    CallState.ENDED: "being sealed",
    CallState.SEALED: "sealed",
    CallState.INTERRUPTED: "sealed, cut short",
    CallState.DESTROYED: "destroyed",
}
PARTIES: Final = {"customer": "Customer", "staff": "Staff"}
MEASURED: Final = "measured"
CLAIMED: Final = "claimed"
NOT_OBSERVED: Final = "not observed"
CLEAR: Final = "clear"
"""Its leg says more: `clear, by exception until DATE`."""
PROTECTIONS: Final = {
    MEASURED: "Callseal took part in this leg and measured its encryption itself.",
    CLAIMED: "The phone system says so; Callseal could not see it.",
    NOT_OBSERVED: "Nobody told us, or it runs over the public telephone network. Treat it as not protected.",
    CLEAR: "Not encrypted on its way to Callseal: two people allowed it, for this network and this time, on the record.",
}

REFUSALS: Final = {
    "code-is-not-enough": "A code is not enough for this: your rules ask for a passkey.",
    "held-is-not-erased": "This call is held. Release its hold first.",
    "expected another person,": "You have signed this already, or have no passkey. It takes another person with one.",
    "another person's passkey": "It takes the passkey of another person, of one who may destroy.",
    "default": "Your role may not open calls.",
    "no-proof": "Refused. It is in the log, and the terminal has been told.",
    "terminal": "The terminal has given up, or it took too long. Nothing was opened; begin again there.",
    "proof-refused": "That proof did not fit: a code works once, and only for its own half minute.",
}
"""What the custodian's refusals mean, by a word that stands in them."""


def show_call(call: Call) -> dict[str, Any]:
    """A call as the list and the live feed send it."""
    return {
        "recording": call.recording,
        "peer": call.peer,
        "class": call.recording_class,
        "state": call.state.value,
        "state_words": STATES[call.state],
        "started_at": format_time(call.started_at),
        "length_ms": length_of(call),
        "sealed_through_ms": call.sealed_through_ms,
        "held": call.held,
        "delete_by": None if call.delete_by is None else format_time(call.delete_by),
        "notes": notes_of(call),
        "legs": [
            {
                "party_words": party_of(leg),
                "near": near_words(leg),
                "near_key": key_of(protection_of(leg)),
                "far": NOT_OBSERVED,
                "far_key": key_of(NOT_OBSERVED),
                "suite": leg.suite,
                "codec": leg.codec,
            }
            for leg in call.legs
        ],
    }


def length_of(call: Call) -> int | None:
    """Milliseconds that are sealed or, once it is over, of the whole."""
    return call.duration_ms if call.duration_ms is not None else call.sealed_through_ms


def notes_of(call: Call) -> list[str]:
    """What a reviewer should know at a glance."""
    notes = list(dict.fromkeys(leg.protection for leg in call.legs if protection_of(leg) == CLEAR))
    if call.counts.gaps:
        notes.append("1 gap" if call.counts.gaps == 1 else f"{call.counts.gaps} gaps")
    if call.counts.withheld:
        notes.append("keypad tones withheld")
    if call.counts.failed:
        notes.append("packets refused")
    if call.twins:
        notes.append("recorded twice" if call.twins == 1 else f"recorded {call.twins + 1} times")
    if call.held:
        notes.append("held")
    return notes


def party_of(leg: Leg) -> str:
    """Who speaks on a leg."""
    return PARTIES.get(leg.party, f"Track {leg.label}" if leg.label else "Unknown speaker")


def protection_of(leg: Leg) -> str:
    """`measured`, `claimed`, `clear` or `not observed`; anything else reads as the last."""
    word = leg.protection.split(" by ")[0].rstrip(",")
    return word if word in PROTECTIONS else NOT_OBSERVED


def near_words(leg: Leg) -> str:
    """The same; of a leg in the clear, with the end of its exception."""
    return leg.protection if protection_of(leg) == CLEAR else protection_of(leg)


def key_of(word: str) -> str:
    """A word of protection as the style sheet knows it."""
    return word.replace(" ", "-")


def show_leg(leg: Leg) -> dict[str, str]:
    """Both halves of a leg: what lies beyond the phone system, and from there to us.

    The recording feed is the half we take part in; the far half a recorder does not see.
    """
    near = protection_of(leg)
    return {
        "party_words": party_of(leg),
        "near": near_words(leg),
        "near_key": key_of(near),
        "near_words": " ".join(filter(None, (PROTECTIONS[near], f"{leg.suite}, {leg.codec}." if leg.suite else f"{leg.codec}."))),
        "far": NOT_OBSERVED,
        "far_key": key_of(NOT_OBSERVED),
        "far_words": leg.detail or "A recorder sees one leg only.",
    }


def show_related(call: Call, other: Call) -> dict[str, Any]:
    """Another recording that belongs with this one, and how."""
    is_same = call.is_same_call(other)
    words = "The same call, recorded once more." if is_same else "Another part of the conversation: it went on in another call."
    return {"recording": other.recording, "started_at": other.started_at, "length_ms": length_of(other), "words": words}


def plain_words(error: Exception) -> str:
    """A refusal of the custodian's as a person reads it; its own words where there are no better ones."""
    return next((words for name, words in REFUSALS.items() if name in str(error)), str(error))


def role_words(role: str | None) -> str:
    """A role as a person reads it."""
    return (role or "–").replace("_", " ")


def reason_words(reason_class: str | None) -> str:
    """A reason's class as a person reads it."""
    return REASON_CLASSES.get(reason_class or "", reason_class or "–")


def show_certificate(certificate: Mapping[str, Any]) -> dict[str, Any]:
    """A certificate of destruction, in the words it has, and what it stands on."""
    kind, _, name = str(certificate["subject"]).partition(":")
    count, outstanding = int(certificate["count"]), list(certificate.get("exports_outstanding", []))
    pending = f"pending until {show_moment(parse_time(certificate['final_on']))}, when no copy of its key can be left"
    return {
        "what": f"Recording {name}" if kind == "recording" else f"{count} recordings of {name}",
        "recording": name if kind == "recording" else None,
        "at": certificate["at"],
        "state": certificate["state"],
        "words": "final" if certificate["state"] == "final" else pending,
        "method": f"key destroyed in the {certificate['driver']} cell, number {certificate['cell']}",
        "limit": certificate.get("limit") or None,
        "why": REASON_CLASSES.get(certificate["why"], certificate["why"]),
        "exports_outstanding": outstanding,
        "exports_words": f"entries {', '.join(map(str, outstanding))} of the log" if outstanding else "none",
        "log_index": certificate.get("log_index"),
    }
