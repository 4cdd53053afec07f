"""`callseal doctor`: what stands between this machine and the promises, each with its fix."""

import ctypes
import json
import os
import shutil
import socket
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from cryptography import x509
from rich.console import Console
from rich.markup import escape

from callseal.cli.doctor_private import examine_private
from callseal.cli.doctor_separation import examine_folders, examine_separation, running, status
from callseal.cli.finding import Finding, Verdict
from callseal.config.settings import Config, load_config
from callseal.daemons.first_start import is_free
from callseal.errors import ConfigError, Unavailable
from callseal.net.multi_buffer import NOT_INSTALLED, find_engine


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    config_file: Annotated[Path | None, typer.Option("--config", help="The configuration file.")] = None,
) -> int:
    """Check ports, certificates, permissions, disk, clock, swap, core dumps and process separation."""
    try:
        findings = list(examine(load_config(config_file), datetime.now(UTC)))
    except ConfigError as error:
        findings = [Finding("configuration", Verdict.BAD, str(error), "mend the file, or remove it for the defaults")]
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        _print(findings)
    return 1 if any(finding.verdict is Verdict.BAD for finding in findings) else 0


def examine(config: Config, now: datetime) -> Iterator[Finding]:
    """Look at everything, in the order in which it would hurt."""
    yield _libraries()
    yield _engine(config)
    yield from examine_folders(config)
    yield from _certificates(config, now)
    yield from _ports(config)
    yield _passkeys(config)
    yield from _disk(config)
    yield _clock()
    yield _swap(config)
    yield _core_dumps()
    yield from examine_separation(config)
    yield _receive_buffer()
    yield from examine_private(config, now)


def _libraries() -> Finding:
    import pysqlite3

    version = f"Python {sys.version.split()[0]}, SQLite {pysqlite3.sqlite_version} (the system's: {sqlite3.sqlite_version})"
    good = tuple(map(int, pysqlite3.sqlite_version.split("."))) >= (3, 51, 3)
    return Finding(
        "libraries", Verdict.GOOD if good else Verdict.BAD, version, "" if good else "install the locked requirements again"
    )


def _engine(config: Config) -> Finding:
    try:
        engine, why = find_engine(config.media.engine)
    except Unavailable as error:
        return Finding("SRTP", Verdict.BAD, str(error), 'apt install libipsec-mb1, or media.engine = "auto"')
    found = f"opened by {engine.name}{f' ({why})' if why else ''}"
    if why == NOT_INSTALLED:
        return Finding("SRTP", Verdict.GOOD, found, "for more calls a core: apt install libipsec-mb1")
    if why and config.media.engine == "auto":
        return Finding("SRTP", Verdict.CARE, found, 'install version 1.3 of libipsec-mb1, or set media.engine = "openssl"')
    return Finding("SRTP", Verdict.GOOD, found)


def _certificates(config: Config, now: datetime) -> Iterator[Finding]:
    for path in [*sorted((config.data / "tls").glob("*.pem")), *sorted((config.data / "peers").glob("*.pem"))]:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        days = (certificate.not_valid_after_utc - now).days
        verdict = Verdict.BAD if days < 0 else Verdict.CARE if days < 30 else Verdict.GOOD
        how = "--server" if path.stem == "server" else path.stem
        fix = "" if verdict is Verdict.GOOD else f"callseal peer renew {how}"
        if fix and path.stem == "ca":
            fix = "the authority itself ends: begin a new one (remove ca.pem, ca.key, server.pem), and renew every phone system"
        elif fix and path.parent.name == "peers":
            fix = "it is the phone system's own: renew it there, then `callseal peer add NAME … --again`"
        yield Finding(f"certificate {path.stem}", verdict, f"{days} days left", fix)


def _ports(config: Config) -> Iterator[Finding]:
    for name, host, port in (("sip", config.sip.host, config.sip.port), ("web", config.web.host, config.web.port)):
        address = config.run / f"{name}.address"
        where = address.read_text(encoding="utf-8").strip() if address.exists() else f"{host}:{port}"
        running = _connects(where)
        if running:
            yield Finding(f"{name} port", Verdict.GOOD, f"{where} answers")
        elif port and not is_free(host, port):
            found = f"{host}:{port} is taken by another program"
            yield Finding(f"{name} port", Verdict.BAD, found, f"set {name}.port, or stop that program")
        else:
            yield Finding(f"{name} port", Verdict.CARE, f"{where} is free: nothing runs there", "callseal up")


def _connects(where: str) -> bool:
    host, _, port = where.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=0.5):
            return True
    except (OSError, ValueError):
        return False


def _passkeys(config: Config) -> Finding:
    if config.web.rp_id == "localhost" or config.web.origin.startswith("https://"):
        return Finding("passkeys", Verdict.GOOD, f"work on {config.web.origin or 'http://localhost'}")
    return Finding(
        "passkeys", Verdict.CARE, "a browser allows passkeys on localhost and over HTTPS only: password and TOTP are offered",
        "put the console behind HTTPS and set web.origin and web.rp_id",
    )  # fmt: skip


def _disk(config: Config) -> Iterator[Finding]:
    place = config.data if config.data.exists() else config.data.parent
    while not place.exists():
        place = place.parent
    usage = shutil.disk_usage(place)
    hours = usage.free / (2 * 9_000 * 3600)  # two G.711 tracks, sealed and padded: about 9 kB a second each
    verdict = Verdict.BAD if usage.free < 1 << 30 else Verdict.CARE if usage.free < 10 << 30 else Verdict.GOOD
    yield Finding(
        "disk space", verdict, f"{usage.free / 2**30:.1f} GiB free: about {hours:,.0f} hours of calls",
        "" if verdict is Verdict.GOOD else "give the data folder more room",
    )  # fmt: skip
    with tempfile.TemporaryFile(dir=place) as probe:
        times = []
        for _ in range(5):
            probe.write(b"\0" * 65536)
            probe.flush()
            began = time.perf_counter()
            os.fdatasync(probe.fileno())
            times.append(time.perf_counter() - began)
    slow = sorted(times)[2] * 1000
    yield Finding(
        "disk speed", Verdict.GOOD if slow < 200 else Verdict.CARE, f"{slow:.1f} ms to make 64 KiB durable",
        "" if slow < 200 else "sealed seconds are promised after this time: use a faster disk",
    )  # fmt: skip


def _clock() -> Finding:
    class Timex(ctypes.Structure):
        _fields_ = (("modes", ctypes.c_uint), ("rest", ctypes.c_byte * 256))

    state = ctypes.CDLL(None).adjtimex(ctypes.byref(Timex()))
    if state == 5:  # TIME_ERROR: not synchronised
        return Finding(
            "clock", Verdict.CARE, "the kernel says that the clock is not synchronised",
            "start a time service (systemd-timesyncd or chrony): retention and evidence depend on the clock",
        )  # fmt: skip
    return Finding("clock", Verdict.GOOD, "synchronised")


def _swap(config: Config) -> Finding:
    swaps = Path("/proc/swaps").read_text(encoding="ascii").splitlines()[1:]
    if not swaps:
        return Finding("swap", Verdict.GOOD, "none in use")
    locked = [name for name, pid in running(config) if status(pid, "VmLck") not in ("", "0 kB")]
    if locked and len(locked) == len(list(running(config))):
        return Finding("swap", Verdict.GOOD, "in use, but every daemon's memory is locked")
    return Finding(
        "swap", Verdict.CARE, f"{len(swaps)} in use: live keys and speech could reach it",
        "swapoff -a, encrypt the swap, or raise the limit on locked memory (LimitMEMLOCK=infinity)",
    )  # fmt: skip


def _core_dumps() -> Finding:
    pattern = Path("/proc/sys/kernel/core_pattern").read_text(encoding="utf-8", errors="replace").strip()
    return Finding("core dumps", Verdict.GOOD, f"our daemons leave none (the system's pattern is {pattern[:40]!r})")


def _receive_buffer() -> Finding:
    limit = int(Path("/proc/sys/net/core/rmem_max").read_text(encoding="ascii"))
    good = limit >= 212_992
    return Finding(
        "receive buffer", Verdict.GOOD if good else Verdict.CARE, f"net.core.rmem_max is {limit // 1024} KiB",
        "" if good else "sysctl -w net.core.rmem_max=4194304",
    )  # fmt: skip


def _print(findings: list[Finding]) -> None:
    marks = {Verdict.GOOD: "[green]✓[/]", Verdict.CARE: "[yellow]![/]", Verdict.BAD: "[bold red]✗[/]"}
    console = Console(highlight=False, soft_wrap=True)
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        console.print(f"{marks[finding.verdict]} {finding.what:<{width}}  {escape(finding.found)}")
        if finding.fix:
            console.print(f"  {'':<{width}}  [bold]fix:[/] {escape(finding.fix)}")
    counts = {verdict: sum(finding.verdict is verdict for finding in findings) for verdict in Verdict}
    console.print(f"\n{counts[Verdict.GOOD]} good, {counts[Verdict.CARE]} to take care of, {counts[Verdict.BAD]} bad")
