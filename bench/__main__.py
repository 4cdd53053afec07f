"""`python -m bench`: what a packet and a call cost."""

import argparse
import sys
from pathlib import Path

from bench import packets, setup


def main() -> int:
    """Measure and print; exit code 1 where a packet was lost in our worker."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=packets.__doc__)
    parser.add_argument("--calls", type=int, nargs="+", default=[25, 100, 500, 1000, 2000], help="Calls at once.")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", choices=("packets", "setup"), help="One of the two measurements.")
    parser.add_argument("--rates", type=int, nargs="+", default=list(setup.RATES), help="New calls a second, rising.")
    parser.add_argument("--raw", type=Path, help="Keep every run here (JSON), with a plot beside it (SVG).")
    arguments = parser.parse_args()
    code = 0
    if arguments.only != "setup":
        code = packets.run(arguments.calls, arguments.seconds, arguments.runs, arguments.raw)
    return code or (setup.run(tuple(arguments.rates), arguments.seconds, arguments.runs) if arguments.only != "packets" else 0)


if __name__ == "__main__":
    sys.exit(main())
