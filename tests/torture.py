"""The published RFC 4475 messages and our stated answer to each, read from docs/spec/rfc4475.md."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VECTORS = ROOT.parent / "shared" / "vectors" / "rfc4475"
_ROW = re.compile(r"\| ([A-Z0-9]+(?:_[VI])?) \| (\S+) \| (silence|[\d, ]+) \| (stays|waits|closed) \| (.+) \|")


@dataclass(frozen=True)
class Verdict:
    """One message: what goes back, in order, and whether the connection stays, waits for the rest of a body, or is closed."""

    name: str
    section: str
    answers: tuple[int, ...]
    connection: str
    why: str

    @property
    def message(self) -> bytes:
        data = (VECTORS / f"TC_{self.name}.dat").read_bytes()
        return data if b"\r\n\r\n" in data else data + b"\r\n"  # one published file lacks its last empty line


def read_table() -> list[Verdict]:
    rows = _ROW.findall((ROOT / "docs" / "spec" / "rfc4475.md").read_text(encoding="utf-8"))
    return [
        Verdict(name, section, () if answers == "silence" else tuple(map(int, answers.split(", "))), connection, why)
        for name, section, answers, connection, why in rows
    ]
