"""The customer's page as three files, the same bytes on every machine: `index.html`, `call.js`, `call.css`.

docs/spec/private-call.md section 10. Invariant: `index.html` names the other two by their SHA-256 (Subresource Integrity),
so its own digest covers all three; nothing of the machine, the clock or the order of a folder goes in.
"""

import base64
import hashlib
import re
from pathlib import Path
from typing import Final

from callseal.errors import ConfigError

SOURCES: Final = Path(__file__).parent / "call"
ENTRY: Final = "customer.js"
TYPES: Final = {"index.html": "text/html; charset=utf-8", "call.js": "text/javascript", "call.css": "text/css"}

_IMPORT = re.compile(r'^import (\{ [\w, ]+ \}) from "\./([a-z0-9]+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?:const|class|function|async function) (\w+)", re.MULTILINE)
_LEFT_OVER = re.compile(r"^(?:import|export)\b|\bimport\(", re.MULTILINE)
_ORIGIN = re.compile(r"https://[a-z0-9.-]+(?::\d{1,5})?|http://localhost:\d{1,5}")


def build_page(signalling: str = "") -> dict[str, bytes]:
    """The page's files by name. `signalling` is the origin of the server that connects calls; empty where that is the page's own.

    Raises ConfigError where `signalling` is no origin.
    """
    if signalling and not _ORIGIN.fullmatch(signalling):
        raise ConfigError(f"signalling: expected https://NAME or http://localhost:PORT, got {signalling}")
    script = bundle(ENTRY).encode()
    style = (SOURCES / "call.css").read_bytes()
    index = (SOURCES / "index.html").read_text(encoding="utf-8")
    integrity = {"script": _integrity(script), "style": _integrity(style)}
    for name, value in {"policy": content_policy(signalling), "signalling": signalling, **integrity}.items():
        index = index.replace(f"{{{{ {name} }}}}", value)
    return {"index.html": index.encode(), "call.js": script, "call.css": style}


def page_digest(files: dict[str, bytes]) -> str:
    """What the manifest's `page` says: SHA-256 of `index.html`, in hex."""
    return hashlib.sha256(files["index.html"]).hexdigest()


def content_policy(signalling: str = "") -> str:
    """The page's content policy (CSP Level 3), as its header and in the page itself."""
    connect = "'self'" if not signalling else f"{signalling} {signalling.replace('http', 'ws', 1)}"
    return "; ".join(
        (
            "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src data:", f"connect-src {connect}",
            "form-action 'none'", "base-uri 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'",
        )
    )  # fmt: skip


def bundle(entry: str) -> str:
    """One script of a module and all that it imports: each module a function's scope, in the order in which they need each other.

    Raises ConfigError where modules need each other in a circle, or import and export in a way that is not ours.
    """
    order: list[str] = []
    _visit(entry.removesuffix(".js"), order, ())
    return "".join(_scope(name, is_entry=f"{name}.js" == entry) for name in order)


def _visit(name: str, order: list[str], within: tuple[str, ...]) -> None:
    if name in within:
        raise ConfigError(f"{name}.js: expected modules that do not need each other in a circle")
    if name in order:
        return
    for _, needed in _IMPORT.findall(_read(name)):
        _visit(needed, order, (*within, name))
    order.append(name)


def _scope(name: str, *, is_entry: bool) -> str:
    text = _read(name)
    exported = _EXPORT.findall(text)
    body = _IMPORT.sub(lambda found: f"const {found[1]} = ${found[2]};\n", text)
    body = re.sub(r"^export ", "", body, flags=re.MULTILINE)
    if _LEFT_OVER.search(body):
        raise ConfigError(f"{name}.js: expected imports and exports of one line, by their names")
    if is_entry:
        return f"{{\n{body}}}\n"
    return f"const ${name} = (() => {{\n{body}return {{ {', '.join(exported)} }};\n}})();\n"


def _read(name: str) -> str:
    return (SOURCES / f"{name}.js").read_text(encoding="utf-8")


def _integrity(content: bytes) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}"
