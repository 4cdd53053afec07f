"""Start one daemon: `python -m callseal.daemons NAME --config FILE`; a media worker has a number, `--worker N`."""

import argparse
import importlib
import sys
from pathlib import Path

from callseal.config.settings import load_config
from callseal.errors import CallsealError, answer_for

NAMES = ("custodian", "watcher", "media", "sip", "web", "witness", "turn")


def main() -> int:
    """Read the settings and run the named daemon to its end; the exit code is its own."""
    parser = argparse.ArgumentParser(prog="callseal-daemon", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--config", type=Path, default=None)
    parser.add_argument("--worker", type=int, default=0, help="which of the media workers (media.workers of the settings)")
    arguments = parser.parse_args()
    try:
        daemon = importlib.import_module(f"callseal.daemons.{arguments.name}")
        which = (arguments.worker,) if arguments.name == "media" else ()
        return int(daemon.run(load_config(arguments.config), *which))
    except CallsealError as error:
        print(f"callseal {arguments.name}: {error}", file=sys.stderr)
        return answer_for(error).exit


if __name__ == "__main__":
    sys.exit(main())
