"""Phone systems by type: `vendors/TYPE.toml` holds what to set there, what will be seen, what cures each fault, how it sends.

Everything that depends on a vendor is data in those files; guides, `callseal peer` and `callseal call --like` read them. A
configuration is the vendor's own text with names in double angle brackets, as `<<host>>`.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from callseal.errors import ConfigError

GENERIC = "generic"
CERTIFICATE = "certificate"
SECRET = "secret"  # noqa: S105 - a kind of proof, not one
_FOLDER = Path(__file__).parent / "vendors"
_FIELD = re.compile(r"<<([a-z_]+)>>")


@dataclass(frozen=True)
class Shape:
    """How a type of phone system writes its SIPREC call, for the test phone. The defaults are RFC 7865's and 7866's own."""

    labels: tuple[str, ...] = ("1", "2")
    content_type: str = "multipart/mixed;boundary={boundary}"
    metadata_type: str = "application/rs-metadata+xml"
    order: tuple[str, ...] = ("sdp", "metadata")
    part_length: bool = False
    """Whether each body part carries a Content-Length of its own."""
    dialect: str = "rfc7865"
    namespace: str = "urn:ietf:params:xml:ns:recording:1"
    prefix: str = ""
    aor: str = "sip"
    times: str = "zulu"
    no_streams: bool = False
    """Metadata without stream elements: the labels stand in SDP only."""
    require: bool = True
    contact: str = "outside"
    direction: str = "sendonly"
    rtpmap: bool = True
    session_connection: bool = True
    codec: str = "PCMA"
    suites: tuple[str, ...] = ("AEAD_AES_256_GCM", "AEAD_AES_128_GCM", "AES_CM_128_HMAC_SHA1_80")
    hold: str = "inactive"
    dummy_first: bool = False
    """The INVITE names a dummy; the people of the call come in UPDATE without SDP."""
    bye_metadata: bool = False
    session_expires: int = 0
    ping: bool = False
    """OPTIONS within the dialog."""


@dataclass(frozen=True)
class Vendor:
    """One type. `proof` says how it shows who it is: by a client `certificate`, or, in a cloud, by address and `secret`."""

    kind: str
    title: str
    proof: str
    configuration: str
    seen: tuple[str, ...]
    confirmed: str
    cures: Mapping[str, str]
    networks: tuple[str, ...] = ()
    shape: Shape = field(default_factory=Shape)

    def cure(self, fault: str) -> str:
        """The setting that cures a fault, in this vendor's terms."""
        return self.cures.get(fault) or load_vendor(GENERIC).cures.get(fault, "")


def list_vendors() -> list[str]:
    """Every type, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


@cache
def load_vendor(kind: str) -> Vendor:
    """What is known of a type. Raises ConfigError for one that is not."""
    if kind not in list_vendors():
        raise ConfigError(f"type: expected one of {', '.join(list_vendors())}, got {kind[:40]}")
    table: dict[str, Any] = tomllib.loads((_FOLDER / f"{kind}.toml").read_text(encoding="utf-8"))
    shape: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in table.pop("shape", {}).items()
    }
    unknown = set(shape) - {item.name for item in fields(Shape)}
    if unknown:
        raise ConfigError(f"vendors/{kind}.toml: unknown shape {sorted(unknown)[0]}")
    table["configuration"] = table["configuration"].strip("\n") + "\n"
    table |= {name: tuple(table.get(name, ())) for name in ("seen", "networks")}
    return Vendor(kind=kind, shape=Shape(**shape), **table)


def fill_in(template: str, values: Mapping[str, str]) -> str:
    """A configuration with its names filled in. Raises ConfigError for a name that has no value."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in values:
            raise ConfigError(f"configuration: no value for {found[1]}")
        return values[found[1]]

    return _FIELD.sub(value, template)
