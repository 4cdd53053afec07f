"""`python -m bench`: what a packet and a call cost."""

import argparse
import sys

from bench import packets, setup


def main() -> int:
    """Measure and print; exit code 1 where a packet was lost in our worker."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=packets.__doc__)
    parser.add_argument("--calls", type=int, nargs="+", default=[50, 200, 1000])
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", choices=("packets", "setup"), help="One of the two measurements.")
    parser.add_argument("--rates", type=int, nargs="+", default=list(setup.RATES), help="New calls a second, rising.")
    arguments = parser.parse_args()
    code = packets.run(arguments.calls, arguments.seconds, arguments.runs) if arguments.only != "setup" else 0
    return code or (setup.run(tuple(arguments.rates), arguments.seconds, arguments.runs) if arguments.only != "packets" else 0)


if __name__ == "__main__":
    sys.exit(main())
