"""What `callseal doctor` says of private calls: relay, page, manifest, witness. Only where they are switched on."""

import ipaddress
from collections.abc import Iterator
from datetime import datetime, timedelta

from callseal.audit.cosignature import timestamp_of
from callseal.audit.note import open_note
from callseal.cli.finding import Finding, Verdict
from callseal.config.settings import Config
from callseal.daemons.turn import answers_stun, find_coturn
from callseal.daemons.watcher import make_witnessing
from callseal.errors import CallsealError, NotFound
from callseal.keyring.client import BlockingKeyring
from callseal.webrtc.manifest import read_manifest

SOON = timedelta(days=2)
STALE = timedelta(hours=1)


def examine_private(config: Config, now: datetime) -> Iterator[Finding]:
    """Look at private calls, in the order in which a call would need them."""
    if not config.private.enabled:
        return
    yield _relay(config)
    yield _page(config)
    yield _manifest(config, now)
    yield _witness(config, now)


def _relay(config: Config) -> Finding:
    private = config.private
    if private.turn_urls:
        fix = "see there that it denies private ranges"
        return Finding("relay", Verdict.CARE, f"another's coturn at {private.turn_urls}", fix)
    if find_coturn() is None:
        return Finding("relay", Verdict.BAD, "coturn is not installed: no private call connects", "apt-get install coturn")
    if not answers_stun(private.turn_host, private.turn_port):
        where = f"{private.turn_host}:{private.turn_port}"
        return Finding("relay", Verdict.CARE, f"nothing answers at {where}", "callseal up")
    if ipaddress.ip_address(private.turn_host).is_loopback and not config.private_origin.startswith("http://localhost"):
        return Finding("relay", Verdict.BAD, "it stands on loopback: nobody outside reaches it", "set private.turn_host")
    return Finding("relay", Verdict.GOOD, f"coturn answers at {private.turn_host}:{private.turn_port}")


def _page(config: Config) -> Finding:
    origin = config.private_origin
    if origin.startswith(("https://", "http://localhost:")):
        return Finding("call page", Verdict.GOOD, f"at {origin}")
    fix = "use HTTPS, and set private.origin"
    return Finding("call page", Verdict.BAD, f"at {origin}: no browser gives it a microphone", fix)


def _manifest(config: Config, now: datetime) -> Finding:
    fix = "callseal root sign-manifest --key FILE"
    try:
        with BlockingKeyring(config.custodian_socket, 5.0) as keyring:
            fields = read_manifest(str(keyring.ask("manifest.current")["note"])).fields
    except NotFound:
        return Finding("manifest", Verdict.CARE, "none yet: no customer can know you", "callseal private setup --key FILE")
    except CallsealError as error:
        return Finding("manifest", Verdict.CARE, str(error), "callseal up")
    ends = datetime.fromisoformat(fields["not_after"])
    found = f"{len(fields['devices'])} devices, until {fields['not_after']}"
    if ends <= now:
        return Finding("manifest", Verdict.BAD, f"expired: {found}", fix)
    return Finding("manifest", Verdict.CARE if ends - now < SOON else Verdict.GOOD, found, fix if ends - now < SOON else "")


def _witness(config: Config, now: datetime) -> Finding:
    path = config.data / "witness" / "cosigned"
    try:
        witnessing = make_witnessing(config)
        assert witnessing is not None
        opened = open_note(path.read_bytes(), [witnessing.witness_key()])
    except (OSError, CallsealError):
        return Finding("witness", Verdict.BAD, "it has seen nothing: no customer believes the manifest", "see logs/watcher.log")
    age = now.timestamp() - max(timestamp_of(one.signature) for one in opened.signed_by)
    if age > STALE.total_seconds():
        found = f"last seen {age / 3600:.0f} hours ago; at 24 calls are refused"
        return Finding("witness", Verdict.BAD, found, "see logs/watcher.log")
    if config.private.witness == "local":
        fix = "run callseal witness on another machine, by another's hand, and set private.witness"
        return Finding("witness", Verdict.CARE, "on this machine: it proves little against this machine's root", fix)
    return Finding("witness", Verdict.GOOD, f"{config.private.witness} saw the log {age / 60:.0f} minutes ago")
