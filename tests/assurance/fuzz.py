"""Ten minutes of the processor for each parser, from the kept corpus: no error let out, nothing slow, no growth."""

import tempfile
from pathlib import Path
from typing import Any

from fuzz.__main__ import run_all, show
from fuzz.inputs import keep


def run(cpu_seconds: int, seed: int) -> dict[str, Any]:
    """Counts by target; what was learnt goes into the corpus."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary:
        found = run_all(Path(temporary), seed, cpu_seconds, 0)
        print(*map(show, found), sep="\n", flush=True)
        keep(Path(temporary))
    names = ("runs", "cpu_seconds", "slowest_ms", "growth_mb")
    counts = {f"{each['target']}_{name}": each.get(name, 0) for each in found for name in names}
    return counts | {"findings": sum(bool(each["error"]) for each in found)}
