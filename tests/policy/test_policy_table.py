"""The shipped policies against a table written down apart from them, for every role, action and circumstance."""

from importlib import resources
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callseal.errors import ConfigError, RequestError
from callseal.model.roles import REASON_CLASSES, ROLES
from callseal.policy.decision import ACTIONS, RECORDING_ACTIONS, PolicySet, Question
from callseal.policy.reason import check_reason

TEXTS = resources.files("callseal.policy")
POLICIES = TEXTS.joinpath("policies.cedar").read_text()
SCHEMA = TEXTS.joinpath("schema.cedarschema").read_text()
POLICY = PolicySet(POLICIES, SCHEMA)

ALLOWED = {
    "agent": {"enrol_device"},
    "manager": {"listen", "metadata", "enrol_device"},
    "compliance_officer": {
        "listen", "export", "metadata", "hold", "release", "erase", "confirm", "invite", "revoke", "enrol_device", "revoke_device", "read_log", "approve",
        "withdraw",
    },
    "dpo": {"metadata", "hold", "release", "erase", "confirm", "enrol_device", "read_log"},
    "auditor": {"read_log"},
    "administrator": {"invite", "revoke", "revoke_device", "except", "withdraw", "read_log", "manage"},
}
INVITED_BY_ADMINISTRATOR = {"agent", "auditor", "administrator"}


def expected(role: str, action: str, *, held: bool, weaker: bool, target: str) -> bool:
    """The answer by the table above, with nothing of Cedar in it."""
    if action not in ALLOWED.get(role, set()):
        return False
    if action == "invite" and role == "administrator" and target not in INVITED_BY_ADMINISTRATOR:
        return False
    if action == "erase" and (held or weaker):
        return False
    return not (action in ("export", "enrol_device", "approve") and weaker)


def ask(role: str, action: str, *, held: bool = False, weaker: bool = False, target: str = "agent", reason: str = "quality") -> bool:
    recording = "ab" * 16 if action in RECORDING_ACTIONS else None
    return POLICY.decide(Question("0" * 16, role, action, recording, held, weaker, reason, target)).allowed


def test_every_role_action_and_circumstance_has_the_answer_of_the_table() -> None:
    tried = 0
    for role, action, held, weaker, target in product(ROLES, ACTIONS, (False, True), (False, True), ROLES):
        assert ask(role, action, held=held, weaker=weaker, target=target) == expected(
            role, action, held=held, weaker=weaker, target=target
        ), (role, action, held, weaker, target)
        tried += 1
    assert tried == 6 * 16 * 4 * 6


@given(
    role=st.one_of(st.sampled_from(ROLES), st.text(max_size=20)),
    action=st.one_of(st.sampled_from(ACTIONS), st.text(max_size=20)),
    held=st.booleans(), weaker=st.booleans(),
    target=st.one_of(st.sampled_from(ROLES), st.text(max_size=20)),
    reason=st.one_of(st.sampled_from(sorted(REASON_CLASSES)), st.text(max_size=20)),
)  # fmt: skip
def test_whatever_is_asked_nothing_beyond_the_table_is_allowed(
    role: str, action: str, held: bool, weaker: bool, target: str, reason: str
) -> None:
    recording = "ab" * 16 if action in RECORDING_ACTIONS else None
    decision = POLICY.decide(Question("0" * 16, role, action, recording, held, weaker, reason, target))
    assert decision.allowed == expected(role, action, held=held, weaker=weaker, target=target)
    assert decision.reasons


def test_an_administrator_is_forbidden_even_where_another_policy_permits() -> None:
    wide = PolicySet(POLICIES + "\n@id(\"everybody\") permit (principal, action, resource is Recording);\n", SCHEMA)
    for action in ("listen", "export", "metadata"):
        decision = wide.decide(Question("0" * 16, "administrator", action, "ab" * 16))
        assert (decision.allowed, decision.reasons) == (False, ("administrator-never-opens",))
    assert wide.decide(Question("0" * 16, "agent", "listen", "ab" * 16)).allowed


def test_a_policy_that_errors_denies_what_others_permit() -> None:
    broken = POLICIES + '\n@id("overflows") permit (principal, action, resource) when { context.reason_class == "x" || 9223372036854775807 + 1 == 0 };\n'
    decision = PolicySet(broken, SCHEMA).decide(Question("0" * 16, "compliance_officer", "listen", "ab" * 16))
    assert (decision.allowed, decision.reasons) == (False, ("error",))
    assert ask("compliance_officer", "listen")


def test_an_engine_that_fails_denies(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **named: Any) -> Any:
        raise RuntimeError

    monkeypatch.setattr("callseal.policy.decision.cedarpy.is_authorized", fail)
    assert not ask("compliance_officer", "listen")


@pytest.mark.parametrize("text", ["permit (", 'permit (principal, action == Action::"fly", resource);', "permit (principal, action, resource) when { principal.rank > 3 };"])
def test_policies_that_do_not_fit_the_schema_are_refused_at_the_start(text: str) -> None:
    with pytest.raises(ConfigError):
        PolicySet(POLICIES + text, SCHEMA)


def test_the_digest_changes_with_every_line() -> None:
    lines = POLICIES.splitlines()
    digests = {PolicySet("\n".join([*lines[:at], "// x", *lines[at:]]), SCHEMA).digest for at in range(len(lines))}
    assert len(digests) == len(lines) and POLICY.digest not in digests


@pytest.mark.parametrize(
    ("reason_class", "words", "case"),
    [
        ("curiosity", "I would just like to know", ""), (None, "long enough words", ""), ("quality", "too short", ""),
        ("quality", " " * 40, ""), ("quality", "x" * 501, ""), ("quality", "long enough words", "x" * 81),
        ("dispute", "long enough words", " "), ("subject_request", "long enough words", ""), ("quality", 7, ""),
    ],
)  # fmt: skip
def test_a_reason_that_is_none_is_refused(reason_class: Any, words: Any, case: Any) -> None:
    with pytest.raises(RequestError):
        check_reason(reason_class, words, case)


def test_a_reason_of_each_class_passes() -> None:
    for name in REASON_CLASSES:
        check_reason(name, "long enough words", "C-1")
