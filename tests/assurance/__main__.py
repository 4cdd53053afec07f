"""`make assure-NAME`: run an assurance in full and keep its raw result, with commit, seed and counts, in docs/assurance/."""

import argparse
import importlib
import json
import multiprocessing
import platform
import secrets
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from tests.assurance.figures import FIGURES, merge
from tests.assurance.network import own_network

ROOT = Path(__file__).resolve().parent.parent.parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=sorted(FIGURES))
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    arguments = parser.parse_args()
    figure = FIGURES[arguments.name]
    dirty = bool(_git("status", "--porcelain", "--", "src"))
    began = time.monotonic()
    run = importlib.import_module(f"tests.assurance.{figure.module}").run
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(figure.shards, spawn, own_network if figure.alone or figure.shards > 1 else None) as pool:
        shares = [pool.submit(run, **share) for share in figure.shares(arguments.seed)]
        counts = merge([share.result() for share in shares])
    result = {
        "assurance": arguments.name,
        "promise": figure.promise,
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": dirty,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": arguments.seed,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "seconds": round(time.monotonic() - began, 1),
        "counts": counts,
        "holds": figure.holds(counts),
    }
    path = ROOT / "docs" / "assurance" / f"{arguments.name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2, ensure_ascii=False))
    return 0 if result["holds"] else 1


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
