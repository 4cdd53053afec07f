"""Why a private call ends: every reason there is, and the outcome under which it is shown.

docs/spec/private-call.md section 9. Invariant: a reason is one of the table; the words of a stranger never become a reason.
"""

from typing import Final

from callseal.errors import TamperedError

OUTCOMES: Final[dict[str, tuple[str, ...]]] = {
    "completed": ("bye",),
    "missed": ("missed", "unattended"),
    "busy": ("busy",),
    "declined": ("declined",),
    "expired": ("expired", "used", "unknown-call", "link-damaged"),
    "identity": (
        "malformed", "wrong-call", "version", "manifest-malformed", "root-unknown", "manifest-signature", "manifest-expired",
        "manifest-rolled-back", "manifest-unlogged", "log-signature", "log-stale", "witness-missing", "device-unknown",
        "device-expired", "device-revoked", "signature", "mac", "commitment", "fingerprint", "sdp-changed", "sdp", "policy",
        "replayed",
    ),
    "failed": (
        "no-offer", "no-answer", "no-proof", "no-media", "no-relay", "no-microphone", "no-browser", "too-long", "lost", "left",
        "server", "too-many",
    ),
}  # fmt: skip

_OUTCOME_OF: Final = {reason: outcome for outcome, reasons in OUTCOMES.items() for reason in reasons}


class Refused(TamperedError):
    """The call ends for this reason of the table."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason


def outcome_of(reason: object) -> str:
    """The outcome under which a reason is shown; `failed` for what is not in the table."""
    return _OUTCOME_OF.get(reason, "failed") if isinstance(reason, str) else "failed"


def known_reason(reason: object) -> str:
    """The reason itself where it is of the table, else `server`."""
    return reason if isinstance(reason, str) and reason in _OUTCOME_OF else "server"
