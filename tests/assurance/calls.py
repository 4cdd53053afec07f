"""Many calls at once on the real worker: no packet lost, flat memory, and what was sealed is what was spoken."""

import sys
from typing import Any

from bench import long


def run(seconds: int, calls: int, call_seconds: float, seed: int) -> dict[str, Any]:
    """So many calls at once for so long. Keys and voices are drawn anew each time: the seed says only which run it was."""
    return long.run(calls, seconds, call_seconds, tell=lambda line: print(line, file=sys.stderr, flush=True))
