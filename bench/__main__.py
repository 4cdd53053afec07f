"""`python -m bench`: what a packet and a call cost."""

import argparse
import sys

from bench import packets


def main() -> int:
    """Measure and print; exit code 1 where a packet was lost in our worker."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=packets.__doc__)
    parser.add_argument("--calls", type=int, nargs="+", default=[50, 200, 1000])
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    return packets.run(arguments.calls, arguments.seconds, arguments.runs)


if __name__ == "__main__":
    sys.exit(main())
