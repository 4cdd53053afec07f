"""Every rule, in one explicit list."""

from collections.abc import Callable, Iterator

from callseal.detection import (
    card_stale,
    certificate_expiring,
    clear_exception,
    custodian_away,
    denied_openings,
    disk_low,
    events_missing,
    long_gap,
    metadata_lost,
    no_bye,
    no_packets,
    not_sealed,
    one_side,
    overdue,
    packets_failed,
    part_interrupted,
    plaintext_offer,
    seal_lag,
    spool_age,
    unknown_peer,
    worker_silent,
)
from callseal.detection.view import Finding, View

RULES: tuple[Callable[[View], Iterator[Finding]], ...] = (
    plaintext_offer.detect,
    unknown_peer.detect,
    no_packets.detect,
    one_side.detect,
    long_gap.detect,
    metadata_lost.detect,
    no_bye.detect,
    not_sealed.detect,
    part_interrupted.detect,
    custodian_away.detect,
    card_stale.detect,
    disk_low.detect,
    seal_lag.detect,
    worker_silent.detect,
    packets_failed.detect,
    denied_openings.detect,
    spool_age.detect,
    events_missing.detect,
    overdue.detect,
    certificate_expiring.detect,
    clear_exception.detect,
)


def detect_all(view: View) -> list[Finding]:
    """What every rule says of a view; of findings with one `dedupe`, the newest."""
    newest: dict[str, Finding] = {}
    for rule in RULES:
        for finding in rule(view):
            if finding.dedupe not in newest or finding.at > newest[finding.dedupe].at:
                newest[finding.dedupe] = finding
    return list(newest.values())
