"""`make fuzz`: every parser in turn, each for its time. `--beside COMMAND` runs them at the lowest priority while COMMAND runs.

Findings end with 1 and leave their input in the folder of states. `--keep` takes what was learnt into `fuzz/corpus/`.
"""

import argparse
import base64
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from fuzz.inputs import CORPUS, TARGETS, keep


def run_one(target: str, folder: Path, seed: int, cpu_seconds: float, seconds: float) -> dict[str, Any]:
    """One fuzzer, to its end; what it counted, with `exit_code`."""
    state = folder / f"{target}.json"
    arguments = [sys.executable, "-m", "fuzz.one", target, "--state", str(state), "--corpus", str(folder / target)]
    arguments += ["--seed", str(seed), "--cpu-seconds", str(cpu_seconds), "--seconds", str(seconds)]
    log = folder / f"{target}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            arguments, stdout=output, stderr=subprocess.STDOUT, cwd=CORPUS.parent.parent, preexec_fn=lambda: os.nice(19)
        )
        code = process.wait()
    counted = json.loads(state.read_text(encoding="utf-8")) if state.exists() else {"target": target, "error": "did not start"}
    if code and not counted["error"]:
        counted["error"] = log.read_text(encoding="utf-8", errors="replace")[-2000:] or f"ended with {code}"
    if counted["error"] and state.with_suffix(".input").exists():
        counted["error"] += f"\ninput, in base64: {base64.b64encode(state.with_suffix('.input').read_bytes()).decode()}"
    return counted | {"exit_code": code}


def run_all(folder: Path, seed: int, cpu_seconds: float, seconds: float, at_once: int = 2) -> list[dict[str, Any]]:
    """Every target, so many at once."""
    with ThreadPoolExecutor(at_once) as pool:
        runs = [pool.submit(run_one, target, folder, seed + at, cpu_seconds, seconds) for at, target in enumerate(TARGETS)]
        return [run.result() for run in runs]


def show(counted: dict[str, Any]) -> str:
    """One line for one fuzzer."""
    told = "FOUND" if counted["error"] else "no finding"
    runs, cpu_seconds, slowest, growth = (counted.get(name, 0) for name in ("runs", "cpu_seconds", "slowest_ms", "growth_mb"))
    return (
        f"fuzz {counted['target']:9} {runs:>9,} runs, {cpu_seconds:>6} s of processor, slowest {slowest} ms, "
        f"growth {growth} MB: {told}"
    )


def main() -> int:
    """Exit code: COMMAND's own, else 1 where anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cpu-seconds", type=float, default=600, help="of the processor, for each")
    parser.add_argument("--seconds", type=float, default=0, help="of the clock at most, for each")
    parser.add_argument("--seed", type=int, default=secrets.randbits(31))
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="for states, logs and what is learnt")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--beside", nargs=argparse.REMAINDER, help="a command to run meanwhile")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        counted: list[dict[str, Any]] = []
        work = (folder, arguments.seed, arguments.cpu_seconds, arguments.seconds, arguments.at_once)
        fuzzing = threading.Thread(target=lambda: counted.extend(run_all(*work)))
        fuzzing.start()
        code = subprocess.run(arguments.beside, check=False).returncode if arguments.beside else 0
        fuzzing.join()
        print(*map(show, counted), f"seed {arguments.seed}", sep="\n")
        for found in counted:
            if found["error"]:
                print(found["error"], file=sys.stderr)
                code = code or 1
        if arguments.keep:
            keep(folder)
    return code


if __name__ == "__main__":
    sys.exit(main())
