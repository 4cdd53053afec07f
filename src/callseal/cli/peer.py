"""`callseal peer`: make a phone system known, say what to paste into it, renew what it holds, and take it out again.

The running recorder takes up every change by itself within a second or two; calls that are up go on.
"""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from callseal.cli.peer_check import check
from callseal.cli.peer_text import place_of, render_configuration, render_firewall
from callseal.config.peers import SECRET_LIMIT, Peer, Secret, is_peer_name, load_peers, read_network, read_peer, write_peer
from callseal.config.settings import Config, load_config
from callseal.config.vendors import GENERIC, SECRET, Vendor, list_vendors, load_vendor
from callseal.daemons import first_start
from callseal.errors import Conflict, NotFound, RequestError
from callseal.net.admission import draw_word
from callseal.net.authority import (
    OWN_NAMES,
    expires_at,
    fingerprint_of,
    is_own,
    issue_client,
    issue_server,
    sign_request,
)
from callseal.net.exceptions import SignedExceptions
from callseal.store.files import write_atomic

console = Console(highlight=False, soft_wrap=True)
peer_app = typer.Typer(no_args_is_help=True, help="Connect a phone system, check it, renew it, take it out.")

Name = Annotated[str, typer.Argument(help="What you call it: lower-case letters, digits, dot, dash.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
Host = Annotated[str | None, typer.Option(help="How the phone system reaches the recorder. [default: sip.server_name]")]


@peer_app.command()
def add(
    name: Name,
    kind: Annotated[str, typer.Option("--type", help="Which phone system: " + ", ".join(list_vendors()))] = GENERIC,
    host: Host = None,
    recording_class: Annotated[str, typer.Option("--class", help="The class of its recordings.")] = "default",
    source: Annotated[list[str] | None, typer.Option("--from", help="An address or range that it calls from.")] = None,
    fingerprint: Annotated[list[str] | None, typer.Option(help="SHA-256 of a certificate it has already.")] = None,
    certificate: Annotated[Path | None, typer.Option(help="A certificate it has already (PEM).")] = None,
    csr: Annotated[Path | None, typer.Option(help="Sign its own request, so that its key never leaves it (PEM).")] = None,
    authority: Annotated[Path | None, typer.Option(help="The authority that issues its certificates (PEM).")] = None,
    certificate_name: Annotated[str | None, typer.Option(help="The name in a certificate of that authority, or of ours.")] = None,
    again: Annotated[bool, typer.Option("--again", help="It is known already: write it anew.")] = False,
    as_json: Json = False,
) -> int:
    """Make a phone system known, and print what to paste into it and into your firewall."""
    config, vendor, now = load_config(), load_vendor(kind), datetime.now(UTC)
    path = _file(config, name)
    if path.exists() and not again:
        raise Conflict(f"peers/{path.name}: there already; say --again to write it anew")
    if authority is not None and certificate_name is None:
        raise RequestError("authority: expected --certificate-name beside it")
    networks = tuple(read_network(text) for text in source or [])
    first_start.make_folders(config)
    first_start.make_certificates(config, now)
    peer, secret = Peer(name, recording_class=recording_class, kind=kind), ""
    if vendor.proof == SECRET and not (fingerprint or certificate or csr or certificate_name):
        peer, secret = _add_secret(peer, networks)
    else:
        peer = _add_certificate(config, peer, fingerprint or [], certificate, csr, authority, certificate_name, now)
    _save(config, peer)
    for beside, given in (("pem", certificate), ("ca.pem", authority)):
        if given is not None:
            write_atomic(path.with_suffix(f".{beside}"), _read(given))
    place = place_of(config, name, host, secret)
    told = {
        "name": name, "type": kind, "title": vendor.title, "file": str(path), "uri": place.uri,
        "fingerprints": sorted(peer.fingerprints), "configuration": render_configuration(vendor, place),
        "firewall": render_firewall(place, source or []), "confirmed": vendor.confirmed,
    }  # fmt: skip
    if as_json:
        print(json.dumps(told, indent=2))
    else:
        _tell_added(config, vendor, peer, told)
    return 0


@peer_app.command("list")
def list_peers(as_json: Json = False) -> int:
    """Who may call in, how each shows who it is, and until when."""
    config, now = load_config(), datetime.now(UTC)
    excepted = SignedExceptions(config.data / "cards" / "exceptions.note", config.data / "log" / "log.vkey").read()
    rows = [
        _describe(config, replace(peer, clear_rtp=excepted.get(peer.name)), now)
        for peer in load_peers(config.data / "peers").values()
    ]
    if as_json:
        print(json.dumps(rows, indent=2))
        return 0
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        console.print(f"{row['name']:<{width}}  {row['title']}\n{'':<{width}}  [dim]{row['proof']}; class {row['class']}[/]")
        if row["clear"]:
            console.print(f"{'':<{width}}  [yellow]{row['clear']}[/]")
    if not rows:
        console.print("Nobody yet: `callseal peer add NAME --type …`")
    return 0


@peer_app.command()
def remove(name: Name) -> int:
    """Take a phone system out. Its connections end at once; what it recorded stays."""
    config = load_config()
    path = _known(config, name)
    path.unlink()
    tls = _tls(config)
    for left in (path.with_suffix(".pem"), path.with_suffix(".ca.pem"), tls / f"{name}.pem", tls / f"{name}.key"):
        left.unlink(missing_ok=True)
    console.print(f"{name} is no longer known. Its certificate or secret opens nothing here.")
    return 0


@peer_app.command()
def renew(
    name: Annotated[str | None, typer.Argument(help="The phone system; left out with --server.")] = None,
    server: Annotated[bool, typer.Option("--server", help="Renew the recorder's own certificate.")] = False,
    finish: Annotated[bool, typer.Option("--finish", help="The phone system shows the new one: forget the old.")] = False,
    overlap_days: Annotated[int, typer.Option(min=0, max=90, help="How long an old secret still counts.")] = 7,
    host: Host = None,
) -> int:
    """Make the next certificate or secret; the old one counts until you say --finish, or for the days of overlap."""
    config, now = load_config(), datetime.now(UTC)
    if server:
        if not is_own(_tls(config), "server"):
            raise RequestError("server: expected a certificate that we issued; put the next of your authority in its place")
        issue_server(_tls(config), config.sip.server_name, now)
        console.print("[green]✓[/] The recorder's certificate is renewed; new connections get it, calls that are up go on.")
        return 0
    if name is None:
        raise RequestError("name: expected a phone system, or --server")
    peer = read_peer(_known(config, name))
    if peer.is_cloud:
        _renew_secret(config, peer, finish, now + timedelta(days=overlap_days), host)
    elif not (_tls(config) / f"{name}.pem").exists():
        raise RequestError(f"{name}: its certificate is its own: renew it there, then `callseal peer add {name} … --again`")
    elif finish:
        _save(config, replace(peer, fingerprints=frozenset({fingerprint_of(_tls(config) / f"{name}.pem")})))
        console.print(f"[green]✓[/] Only the newest certificate of {name} counts now.")
    else:
        issued = issue_client(_tls(config), name, now)
        _save(config, replace(peer, fingerprints=peer.fingerprints | {issued}))
        console.print(f"[green]✓[/] New: {_tls(config)}/{name}.pem and {name}.key. The old one counts too, until you say:")
        console.print(f"  callseal peer renew {name} --finish")
    return 0


peer_app.command()(check)


def _add_secret(peer: Peer, networks: tuple[Any, ...]) -> tuple[Peer, str]:
    if not networks:
        raise RequestError(f"from: expected the addresses that {peer.kind} calls from: a secret alone is not enough")
    word = draw_word()
    return replace(peer, networks=networks, secrets=(Secret(_digest(word)),)), word


def _add_certificate(
    config: Config, peer: Peer, fingerprints: list[str], certificate: Path | None, csr: Path | None, authority: Path | None,
    certificate_name: str | None, now: datetime,
) -> Peer:  # fmt: skip
    """By what was given, or by a certificate of our own making. Raises RequestError, ConfigError."""
    known = frozenset(text.replace(":", "").lower() for text in fingerprints)
    if certificate is not None:
        known |= {fingerprint_of(certificate)}
    if authority is not None:
        fingerprint_of(authority)  # raises where it is none
    if csr is not None:
        known |= {sign_request(_tls(config), peer.name, _read(csr), now)}
    if not known and certificate_name is None:
        known = frozenset({issue_client(_tls(config), peer.name, now)})
    names = frozenset([certificate_name.lower()] if certificate_name else [])
    return replace(peer, fingerprints=known, certificate_names=names)


def _renew_secret(config: Config, peer: Peer, finish: bool, until: datetime, host: str | None) -> None:
    newest = peer.secrets[-1]
    if finish:
        _save(config, replace(peer, secrets=(newest,)))
        console.print(f"[green]✓[/] Only the newest secret of {peer.name} counts now.")
        return
    word = draw_word()
    old = [replace(secret, until=min(secret.until or until, until)) for secret in peer.secrets[1 - SECRET_LIMIT :]]
    _save(config, replace(peer, secrets=(*old, Secret(_digest(word)))))
    console.print(f"[green]✓[/] New URI, shown once; the old one counts until {until:%d %B %Y}:\n")
    console.print(f"  {place_of(config, peer.name, host, word).uri}\n", markup=False)


def _tell_added(config: Config, vendor: Vendor, peer: Peer, told: dict[str, Any]) -> None:
    console.print(f"[green]✓[/] {peer.name} is known: {vendor.title} ({told['file']})")
    if (_tls(config) / f"{peer.name}.key").exists() and peer.fingerprints:
        folder = _tls(config)
        console.print(f"[green]✓[/] Its certificate: {folder}/{peer.name}.pem with {peer.name}.key")
        console.print(f"[green]✓[/] Whom it trusts: {folder}/ca.pem")
        console.print(f"  Copy the three to it, then remove {peer.name}.key here: nobody else needs it.")
    console.print(f"\n[bold]Paste into {vendor.title}[/]\n")
    print(told["configuration"])
    console.print(f"[yellow]![/] {vendor.confirmed}", markup=True)
    console.print("\n[bold]Firewall[/]\n")
    print(told["firewall"])
    console.print("[bold]Then[/] place one test call while this waits for it:\n")
    console.print(f"  callseal peer check {peer.name}")


def _describe(config: Config, peer: Peer, now: datetime) -> dict[str, Any]:
    proof = []
    for path in (_tls(config) / f"{peer.name}.pem", config.data / "peers" / f"{peer.name}.pem"):
        if path.exists() and peer.fingerprints:
            proof.append(f"certificate until {expires_at(path):%Y-%m-%d}")
    if len(peer.fingerprints) > len(proof):
        proof.append(f"{len(peer.fingerprints)} certificates by fingerprint")
    proof += [f"a certificate named {name}" for name in sorted(peer.certificate_names)]
    if peer.is_cloud:
        live = sum(secret.is_live(now) for secret in peer.secrets)
        proof.append(f"{live} secret{'s' * (live != 1)}, from {', '.join(map(str, peer.networks))}")
    return {
        "name": peer.name, "type": peer.kind, "title": load_vendor(peer.kind).title, "class": peer.recording_class,
        "proof": ", ".join(proof), "srtp": peer.srtp, "clear": clear.label if (clear := peer.may_be_clear(now)) else "",
    }  # fmt: skip


def _file(config: Config, name: str) -> Path:
    if not is_peer_name(name) or name in OWN_NAMES:
        raise RequestError("name: expected lower-case letters, digits, dot, dash and underscore, and not ca or server")
    return config.data / "peers" / f"{name}.toml"


def _known(config: Config, name: str) -> Path:
    path = _file(config, name)
    if not path.exists():
        raise NotFound(f"{name}: expected a phone system that is known; see `callseal peer list`")
    return path


def _save(config: Config, peer: Peer) -> None:
    """Write a peer's file, unless it would not be read back or clashes with another's."""
    path = config.data / "peers" / f"{peer.name}.toml"
    before = path.read_bytes() if path.exists() else None
    write_atomic(path, write_peer(peer).encode())
    try:
        load_peers(path.parent)
    except Exception:
        if before is None:
            path.unlink()
        else:
            write_atomic(path, before)
        raise


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror}") from error


def _tls(config: Config) -> Path:
    return config.data / "tls"


def _digest(word: str) -> str:
    return sha256(word.encode()).hexdigest()
