"""A principal, an action, a resource and a context in; a decision with its reasons out. Default deny.

Cedar (docs.cedarpolicy.com) decides. Invariants: policies that do not validate against the schema are refused before they are
used; Cedar passes over a policy that errors, we do not: any error in any policy, and any fault of the engine, is a deny.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Final

import cedarpy

from callseal.errors import ConfigError

OPENING_ACTIONS: Final = ("listen", "export", "metadata")
RECORDING_ACTIONS: Final = (*OPENING_ACTIONS, "hold", "release", "erase", "confirm")
INSTALLATION_ACTIONS: Final = (
    "invite", "revoke", "enrol_device", "revoke_device", "except", "approve", "withdraw", "read_log", "manage",
)  # fmt: skip
ACTIONS: Final = RECORDING_ACTIONS + INSTALLATION_ACTIONS


@dataclass(frozen=True)
class Question:
    """What is to be decided. `target_role` is the role invited, `weaker` says that a one-time code was the proof."""

    person: str
    role: str
    action: str
    recording: str | None = None
    held: bool = False
    weaker: bool = False
    reason_class: str = ""
    target_role: str = ""


@dataclass(frozen=True)
class Decision:
    """Allowed or not, the ids of the policies that made it so (or `error`, `default`), and the hash of the whole set."""

    allowed: bool
    reasons: tuple[str, ...]
    policy: str


class PolicySet:
    """Policies and schema as text, checked once."""

    def __init__(self, policies: str, schema: str) -> None:
        """Raises ConfigError where the policies do not parse or do not fit the schema."""
        self.digest = hashlib.sha256(b"callseal/v1/policy" + _sized(policies) + _sized(schema)).hexdigest()
        self._policies = policies
        self._schema = schema
        result = cedarpy.validate_policies(policies, schema)
        if not result.validation_passed:
            raise ConfigError(f"policy: expected policies that fit the schema, got {len(result.errors)} errors")

    def decide(self, question: Question) -> Decision:
        """Decide; never raises: what cannot be evaluated is denied with the reason `error`."""
        try:
            return self._evaluate(question)
        except Exception:  # fail closed: whatever goes wrong in the engine, the answer is no
            return Decision(False, ("error",), self.digest)

    def _evaluate(self, question: Question) -> Decision:
        if question.action in RECORDING_ACTIONS and not question.recording:
            raise ValueError("expected a recording")
        kind, name = ("Recording", question.recording) if question.recording else ("Installation", "here")
        request = {
            "principal": {"type": "Person", "id": question.person},
            "action": {"type": "Action", "id": question.action},
            "resource": {"type": kind, "id": name},
            "context": {
                "weaker": question.weaker, "reason_class": question.reason_class, "target_role": question.target_role,
            },
        }  # fmt: skip
        entities = [
            {"uid": request["principal"], "attrs": {"role": question.role}, "parents": []},
            {"uid": request["resource"], "attrs": {"held": question.held} if question.recording else {}, "parents": []},
        ]
        answer = cedarpy.is_authorized(request, self._policies, json.dumps(entities), schema=self._schema)
        if answer.diagnostics.errors:
            return Decision(False, ("error",), self.digest)
        names = answer.diagnostics.id_annotations_by_reason
        reasons = tuple(sorted(names.get(reason, reason) for reason in answer.diagnostics.reasons))
        return Decision(answer.decision == cedarpy.Decision.Allow, reasons or ("default",), self.digest)


def _sized(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(8, "big") + data
