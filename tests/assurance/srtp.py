"""A million packets, and their reports, before libsrtp and before each of our engines: all take the same, with the same payloads."""

from typing import Any

from callseal.net.multi_buffer import MultiBuffer
from callseal.rtp.srtp_crypto import OpenSsl
from tests.srtp_agreement import SUITES, compare


def run(packets: int, seed: int) -> dict[str, Any]:
    """Counts over all suites and engines. Raises OSError where libipsec-mb1 is not installed."""
    engines = OpenSsl(), MultiBuffer()
    found = [
        compare(suite, packets // len(SUITES) + 1, f"{seed} {suite} {engine.name}", engine) for engine in engines for suite in SUITES
    ]
    names = ("packets", "arrived", "accepted", "failed", "replayed", "mangled", "doubled", "reports", "disagreements", "rollovers")
    return {name: sum(counts[name] for counts in found) for name in names}
