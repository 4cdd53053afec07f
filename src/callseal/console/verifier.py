"""The independent verifier, run as its own program: it shares no code with us, so its word is worth having.

Invariants: one run at a time (it reads everything); it ends within `LONGEST_SECONDS` or is killed; it gets no key and no
environment of ours.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any, Final

from callseal.errors import Unavailable

LONGEST_SECONDS: Final = 300.0
SHOWN: Final = 50
UNCHANGED: Final = "Unchanged: everything that the verifier read fits together."
CHANGED: Final = "Something does not verify. Keep a copy as it is, and do not carry on as if nothing had happened."

_one_at_a_time = asyncio.Lock()


async def verify_installation(data: Path, recording: str | None = None) -> dict[str, Any]:
    """Verify log and sealed recordings under `data`; with `recording`, tell what concerns that one.

    Returns `ok`, `words` and `findings`. Raises Unavailable where the verifier does not end in time or cannot say.
    """
    arguments = [sys.executable, "-I", "-m", "callseal_verify", str(data), "--json"]
    if recording is not None:
        arguments += ["--recording", recording]
    async with _one_at_a_time:
        process = await asyncio.create_subprocess_exec(
            *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, env={}
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), LONGEST_SECONDS)
        except TimeoutError as error:
            process.kill()
            await process.wait()
            raise Unavailable(f"verifier: expected it to end within {LONGEST_SECONDS:.0f} s") from error
    try:
        report = json.loads(output)
    except ValueError as error:
        raise Unavailable("verifier: expected a report, got none") from error
    return read_report(report, process.returncode)


def read_report(report: dict[str, Any], code: int | None) -> dict[str, Any]:
    """The verifier's report in the page's words; only exit code 0 is called good. Raises Unavailable where it could not look."""
    if report.get("unusable"):
        raise Unavailable("verifier: there is nothing to verify yet, or it could not be read")
    problems = [str(problem) for problem in report.get("problems", [])]
    notes = [f"{note['what']}: {note['why']}" for note in report.get("notes", [])]
    counts = [f"{number} {name}" for name, number in report.get("counts", {}).items()]
    ok = code == 0 and not problems
    return {"ok": ok, "words": UNCHANGED if ok else CHANGED, "findings": (problems or [*counts, *notes])[:SHOWN]}
