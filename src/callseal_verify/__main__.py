"""`python -m callseal_verify DATA_OR_PACK`: verify and say what was checked.

Exit code 0: all is as it was written; 1: findings; 2: not verified.
"""

import argparse
import re
import sys
from pathlib import Path

from callseal_verify.verify import verify


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="callseal_verify",
        description="Checks that nothing in a log, in its sealed recordings or in its rows was changed, cut, swapped or spliced.",
        epilog="Exit: 0 all is as it was written, 1 there are findings, 2 there was nothing to verify or it could not be read.",
    )
    parser.add_argument("path", type=Path, help="a data folder, or an evidence pack (folder or ZIP file)")
    parser.add_argument("--vkey", type=Path, metavar="FILE", help="the log's verifier key, kept elsewhere (else log/log.vkey)")
    parser.add_argument("--since", type=Path, metavar="FILE", help="an older checkpoint, kept elsewhere, to be continued")
    parser.add_argument("--recording", metavar="ID", help="look at the files of this recording alone (and at the whole log)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    options = parser.parse_args(arguments)
    try:
        vkey = options.vkey.read_text(encoding="utf-8").strip() if options.vkey else None
    except (OSError, UnicodeDecodeError):
        print(f"Not verified: {options.vkey}: expected a file with a verifier key", file=sys.stderr)
        return 2
    if options.recording is not None and re.fullmatch(r"[0-9a-f]{32}", options.recording) is None:
        print("Not verified: --recording: expected 32 lower-case hex digits", file=sys.stderr)
        return 2
    report = verify(options.path, vkey, options.since, options.recording)
    print(report.as_json() if options.json else report.as_text(), end="")
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
