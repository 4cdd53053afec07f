"""What was checked, what was counted and what was found, in plain words.

A finding is something that may not be so: changed, cut, swapped, spliced, missing. A note is something to know.
"""

import json
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class Finding:
    """`what` kind of thing is wrong, `where` it lies, and `why` in plain words."""

    what: str
    where: str
    why: str


@dataclass
class Report:
    """The outcome of one run."""

    path: str
    findings: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    head: dict[str, str | int] = field(default_factory=dict)
    unusable: str = ""

    def find(self, what: str, where: str, why: str) -> None:
        """Add a finding, once."""
        finding = Finding(what, where, why)
        if finding not in self.findings:
            self.findings.append(finding)

    def note(self, what: str, where: str, why: str) -> None:
        """Add a note."""
        self.notes.append(Finding(what, where, why))

    def count(self, name: str, number: int = 1) -> None:
        """Count what was checked."""
        self.counts[name] = self.counts.get(name, 0) + number

    @property
    def exit_code(self) -> int:
        """0: all is as it was written; 1: there are findings; 2: there was nothing to verify, or it could not be read."""
        if self.unusable:
            return 2
        return 1 if self.findings else 0

    def as_json(self) -> str:
        """The report for machines."""
        problems = [f"{item.what} · {item.where}: {item.why}" for item in self.findings]
        whole = {"v": 1, "verified": self.exit_code == 0, "exit_code": self.exit_code, "problems": problems, **asdict(self)}
        return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"

    def as_text(self) -> str:
        """The report for people."""
        if self.unusable:
            return f"Not verified: {self.unusable}\n"
        lines = [f"Verified in {self.path}:"]
        if self.head:
            lines.append(f"  log {self.head['origin']}, {self.head['size']} entries, root {self.head['root']}")
            lines.append(f"  key {self.head['vkey']}")
        width = max((len(str(number)) for number in self.counts.values()), default=1)
        lines += [f"  {number:>{width}} {name}" for name, number in self.counts.items()]
        for title, items in (("To know", self.notes), ("FOUND", self.findings)):
            if items:
                lines += ["", f"{title}:"]
                lines += [f"  {item.what} · {item.where}\n      {item.why}" for item in items]
        lines.append("")
        if self.findings:
            number = len(self.findings)
            lines.append(f"{number} finding{'s' if number > 1 else ''}: what is named above is not as it was written.")
        else:
            lines.append("Nothing was changed, cut, swapped or spliced.")
        return "\n".join(lines) + "\n"
