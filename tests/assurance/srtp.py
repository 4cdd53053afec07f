"""A million packets, and their reports, before libsrtp and before us: both take the same, with the same payloads."""

from typing import Any

from tests.srtp_agreement import SUITES, compare


def run(packets: int, seed: int) -> dict[str, Any]:
    """Counts over all suites, and the fewest rollovers of any."""
    found = [compare(suite, packets // len(SUITES) + 1, f"{seed} {suite}") for suite in SUITES]
    names = ("packets", "arrived", "accepted", "failed", "replayed", "mangled", "doubled", "reports", "disagreements", "rollovers")
    return {name: sum(counts[name] for counts in found) for name in names}
