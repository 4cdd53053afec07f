"""What the custodian holds: the contents of the keystore, and their one spelling in bytes (canonical JSON, RFC 8785).

docs/spec/open-call.md section 6. Invariants: bytes stand as base64url, key trees in their canonical form, times in UTC with
milliseconds; a field that is missing, unknown or of another type refuses the whole.
"""

import types
import typing
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from typing import Any

from callseal.audit import canonical
from callseal.errors import CallsealError, TamperedError
from callseal.model.clock import format_time, parse_time
from callseal.model.message import to_bytes, to_text
from callseal.vault.tree import KeyTree

LIMIT_BYTES = 256 << 20
VERSION = 1


@dataclass
class Group:
    """`CLASS/DAY`: its tree, and the leaf that the next recording gets."""

    tree: KeyTree
    next_leaf: int = 0


@dataclass
class HeldLeaf:
    """A copy of one recording's leaf under a hold: it opens while the hold stands, whatever becomes of the group."""

    group: str
    leaf: int
    key: bytes


@dataclass
class Hold:
    """One case that keeps recordings from destruction."""

    case: str
    placed_by: str
    placed_at: datetime
    recordings: dict[str, HeldLeaf] = field(default_factory=dict)


@dataclass
class Epoch:
    """One sealing card's key pair. `waiting` are parts announced under it and not yet adopted, as `recording/part`."""

    private_key: bytes
    public_key: bytes
    issued_at: datetime
    not_after: datetime
    log_index: int
    waiting: list[str] = field(default_factory=list)
    drained: bool = False


@dataclass
class Passkey:
    """One enrolled WebAuthn credential."""

    credential_id: bytes
    public_key: bytes
    sign_count: int


@dataclass
class Person:
    """Who may sign in. The log knows them only by their random id; the name stands here and nowhere else."""

    role: str
    name: str
    enrolled_at: datetime
    passkeys: list[Passkey] = field(default_factory=list)
    totp_secret: str | None = None
    totp_step: int = 0
    password: str | None = None
    revoked_at: datetime | None = None


@dataclass
class Invite:
    """A link that works once, by the SHA-256 of its token."""

    role: str
    name: str
    expires_at: datetime


@dataclass
class Version:
    """A version of the retention periods."""

    since: datetime
    default_days: int
    days: dict[str, int] = field(default_factory=dict)


@dataclass
class Pending:
    """A destruction whose certificate is not yet final."""

    subject: str
    at: datetime
    cell: int
    count: int
    why: str
    log_index: int
    recordings: list[str] = field(default_factory=list)


@dataclass
class State:
    """Everything. `owed` are log entries decided on and perhaps not yet written: a start writes them first."""

    origin: str
    cell: int
    log_seed: bytes
    groups: dict[str, Group] = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)
    epochs: dict[str, Epoch] = field(default_factory=dict)
    last_epoch: int = 0
    details: dict[str, KeyTree] = field(default_factory=dict)
    people: dict[str, Person] = field(default_factory=dict)
    invites: dict[str, Invite] = field(default_factory=dict)
    versions: list[Version] = field(default_factory=list)
    policy: str = ""
    pending: list[Pending] = field(default_factory=list)
    owed: list[bytes] = field(default_factory=list)
    v: int = VERSION


def encode_state(state: State) -> bytes:
    """The canonical bytes of a keystore's contents."""
    return canonical.encode(_pack(state))


def decode_state(data: bytes) -> State:
    """The contents that `encode_state` wrote. Raises TamperedError."""
    try:
        state = _unpack(State, canonical.decode(data, LIMIT_BYTES))
    except (CallsealError, KeyError, TypeError, ValueError) as error:
        raise TamperedError("keystore: expected contents of this version") from error
    if state.v != VERSION:
        raise TamperedError(f"keystore: expected version {VERSION}")
    assert isinstance(state, State)
    return state


def _pack(value: Any) -> Any:
    if is_dataclass(value):
        return {item.name: _pack(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, dict):
        return {key: _pack(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_pack(item) for item in value]
    if isinstance(value, KeyTree):
        return to_text(value.to_bytes())
    if isinstance(value, bytes):
        return to_text(value)
    if isinstance(value, datetime):
        return format_time(value)
    return value


def _unpack(kind: Any, value: Any) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return None if value is None else _unpack(arguments[0], value)
    if origin is dict:
        return {key: _unpack(arguments[1], item) for key, item in _of(dict, value).items()}
    if origin is list:
        return [_unpack(arguments[0], item) for item in _of(list, value)]
    if kind is KeyTree:
        return KeyTree.from_bytes(to_bytes(value, "tree"))
    if kind is bytes:
        return to_bytes(value, "bytes")
    if kind is datetime:
        return parse_time(value)
    if is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        if set(_of(dict, value)) != set(hints):
            raise TypeError("expected the fields of the table")
        assert isinstance(kind, type)
        return kind(**{name: _unpack(hints[name], value[name]) for name in hints})
    return _of(kind, value)


def _of(kind: Any, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError("expected another type")
    return value
