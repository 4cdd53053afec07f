"""A dialog as bytes and back, so that it outlives the process that leads it.

keys-and-recordings section 8 ("dialogs survive in the supervisor"). What is kept are values, each read back by the type that its
field declares: nothing is run. Not kept: a request that waits for media, and a 2xx that waits for its ACK; both belong to a
connection, which has ended with the process.
Invariants: it holds SRTP keys and personal data, so it stays in memory; what does not read as a whole dialog is none.
"""

import base64
import ipaddress
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from callseal.errors import InternalError
from callseal.sip.dialog import Dialog

_NOT_KEPT = frozenset({"pending", "next_plan", "unacked", "orders"})
_NETWORKS = (ipaddress.IPv4Network, ipaddress.IPv6Network)


def write_dialog(dialog: Dialog) -> bytes:
    """The bytes of a dialog."""
    kept = {name: _pairs(getattr(dialog, name)) for name in _names(Dialog) if name not in _NOT_KEPT}
    return json.dumps(kept, separators=(",", ":"), default=_plain).encode("ascii")


def read_dialog(data: bytes) -> Dialog:
    """The dialog that was written. Raises InternalError where the bytes are none, as those of another version may be."""
    try:
        return Dialog(**_fields(Dialog, json.loads(data)))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InternalError(f"dialog: expected one that was kept by this version ({type(error).__name__})") from error


def _plain(value: Any) -> Any:
    """What JSON has no word for, one step nearer to what it has."""
    kind: Any = type(value)
    if kind is bytes:
        return base64.b64encode(value).decode("ascii")
    if names := _names(kind):
        return {name: _pairs(getattr(value, name)) for name in names}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, _NETWORKS):
        return str(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise InternalError(f"dialog: expected a value that can be kept, got {type(value).__name__}")


def _pairs(value: Any) -> Any:
    """A field that is a mapping, whose keys may be more than text, as its pairs."""
    return list(value.items()) if isinstance(value, dict) else value


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(item.name for item in fields(kind)) if is_dataclass(kind) else ()


def _fields(kind: Any, plain: Mapping[str, Any]) -> dict[str, Any]:
    hints = _hints(kind)
    return {name: _read(hints[name], value) for name, value in plain.items()}


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _read(hint: Any, plain: Any) -> Any:
    origin, of = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        if plain is None:
            return None
        kinds = [kind for kind in of if kind is not NoneType]
        return ipaddress.ip_network(plain) if set(kinds) == set(_NETWORKS) else _read(kinds[0], plain)
    if origin is tuple:
        kinds = [of[0]] * len(plain) if of[-1] is Ellipsis else list(of)
        return tuple(_read(kind, item) for kind, item in zip(kinds, plain, strict=True))
    if origin in (list, set, frozenset):
        return origin(_read(of[0], item) for item in plain)
    if origin is dict:
        return {_read(of[0], key): _read(of[1], item) for key, item in plain}
    if hint is bytes:
        return base64.b64decode(plain)
    if hint is datetime:
        return datetime.fromisoformat(plain)
    if is_dataclass(hint):
        return hint(**_fields(hint, plain))  # type: ignore[operator]
    if isinstance(plain, hint):
        return plain
    return hint(plain)
