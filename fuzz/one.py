"""One fuzzer: a target, a seed, a time of processor or of clock, and a state file that says how it stands.

`python -m fuzz.one TARGET --state FILE --corpus FOLDER`. Ends with 0 when its time is over, with 1 on the first finding: an error
that the target lets out, an input slower than `SLOWEST_SECONDS`, or growth. The finding's input lies beside the state file.
"""

import argparse
import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import atheris

from fuzz.inputs import CORPUS

SLOWEST_SECONDS = 2.0
GROWTH_MB = 96
WARM_SHARE = 0.3
"""Growth is counted from here on: until then caches and the fuzzer's own corpus fill."""
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / (1 << 20)


class Watch:
    """Counts runs, looks at time and memory, and ends the process."""

    def __init__(self, arguments: argparse.Namespace, target: Callable[[bytes], None]) -> None:
        self._target = target
        self._state = arguments.state
        self._cpu_seconds, self._wall_seconds = arguments.cpu_seconds, arguments.seconds
        self._began = time.monotonic()
        self._cpu_before = time.process_time()
        self._look_at = 0.0
        self.found = {"target": arguments.target, "seed": arguments.seed, "error": ""}
        self.found |= dict.fromkeys(("runs", "cpu_seconds", "slowest_ms", "warm_mb", "growth_mb"), 0)

    def __call__(self, data: bytes) -> None:
        """One run."""
        began = time.process_time()
        try:
            self._target(data)
        except BaseException as error:
            self._fail(data, "".join(traceback.format_exception(error)))
        now = time.process_time()
        self.found["runs"] += 1
        self.found["slowest_ms"] = max(self.found["slowest_ms"], round((now - began) * 1000))
        if now - began > SLOWEST_SECONDS:
            self._fail(data, f"slow: {now - began:.1f} s for {len(data)} bytes")
        if now >= self._look_at:
            self._look_at = now + 0.25
            self._look(data, now)

    def _look(self, data: bytes, now: float) -> None:
        used = now - self._cpu_before
        memory = round(int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_MB)
        share = max(used / self._cpu_seconds, (time.monotonic() - self._began) / self._wall_seconds if self._wall_seconds else 0)
        self.found["cpu_seconds"] = round(used, 1)
        if share < WARM_SHARE or not self.found["warm_mb"]:
            self.found["warm_mb"] = max(memory, self.found["warm_mb"])
        self.found["growth_mb"] = max(0, memory - self.found["warm_mb"])
        if self.found["growth_mb"] > GROWTH_MB:
            self._fail(data, f"growth: {self.found['growth_mb']} MB")
        self._write()
        if share >= 1:
            os._exit(0)

    def _fail(self, data: bytes, why: str) -> None:
        self.found["error"] = why
        self._state.with_suffix(".input").write_bytes(data)
        self._write()
        sys.stderr.write(f"{self.found['target']}: {why}\n")
        os._exit(1)

    def _write(self) -> None:
        temporary = self._state.with_suffix(".new")
        temporary.write_text(json.dumps(self.found), encoding="utf-8")
        temporary.replace(self._state)


def main() -> None:
    """Never returns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, required=True, help="where new inputs go")
    parser.add_argument("--cpu-seconds", type=float, default=600)
    parser.add_argument("--seconds", type=float, default=0, help="of the clock, where the processor's time is not to count")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    # first, and so not instrumented: atheris keeps what it sees compared, and arrays would grow without end
    for name in ("srtp", "timeline", "telephone_event"):
        importlib.import_module(f"callseal.rtp.{name}")
    with atheris.instrument_imports(include=["callseal.sip", "callseal.rtp.srtcp"]):
        from fuzz.targets import LONGEST, TARGETS, planted
    atheris.instrument_func(planted)
    watch = Watch(arguments, TARGETS[arguments.target])
    arguments.corpus.mkdir(parents=True, exist_ok=True)
    longest = LONGEST.get(arguments.target, 12_000)
    settings = [f"-seed={arguments.seed}", f"-max_len={longest}", "-verbosity=0", "-timeout=60", "-rss_limit_mb=2048"]
    kept = [str(CORPUS / arguments.target)] if (CORPUS / arguments.target).is_dir() else []
    atheris.Setup([sys.argv[0], *settings, str(arguments.corpus), *kept], watch)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
