"""`callseal doctor`, who may read what: modes of folders and keys; whether each daemon is shut in and has its own user."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from callseal.cli.finding import Finding, Verdict
from callseal.config.folders import is_shared
from callseal.config.settings import Config
from callseal.daemons.landlock import landlock_version

PRIVATE = ("custodian", "log", "cards", "spool", "events", "objects", "database", "tls", "peers", "run")


def examine_folders(config: Config) -> Iterator[Finding]:
    """The data folder, what in it others must not see, and the two keys that stand in files."""
    data = config.data
    if not data.exists():
        yield Finding("data folder", Verdict.GOOD, f"{data} will be made at the first start")
        return
    shared = is_shared(config.run)
    yield from _check_mode("data folder", data, 0o027)
    yield from _check_mode("custodian's folder", data / "custodian", 0o077)
    for name in PRIVATE[1:]:
        yield from _check_mode(f"folder {name}", data / name, 0o007 if is_shared(data / name) or shared else 0o027)
    yield from _check_mode("server key", data / "tls" / "server.key", 0o037 if shared else 0o077)
    yield from _check_mode("authority's key", data / "tls" / "ca.key", 0o077)
    if shared and not config.run.stat().st_mode & stat.S_ISVTX:
        yield Finding("sockets", Verdict.BAD, "one daemon could put its own socket in another's place", f"chmod +t {config.run}")


def _check_mode(what: str, path: Path, forbidden: int) -> Iterator[Finding]:
    if not path.exists():
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & forbidden:
        yield Finding(what, Verdict.BAD, f"mode {mode:04o}: others may look in", f"chmod {mode & ~forbidden:o} {path}")
    else:
        yield Finding(what, Verdict.GOOD, f"mode {mode:04o}")


def examine_separation(config: Config) -> Iterator[Finding]:
    """Landlock, and the users of the daemons that run."""
    version = landlock_version()
    if version:
        yield Finding("Landlock", Verdict.GOOD, f"ABI {version}: each daemon is shut in")
    else:
        yield Finding(
            "Landlock", Verdict.CARE, "this kernel has none: one user's daemons could read each other's files",
            "use the systemd units, which give each daemon its own user",
        )  # fmt: skip
    users: dict[str, list[str]] = {}
    found = list(running(config))
    for name, pid in found:
        of_user = users.setdefault(status(pid, "Uid").split("\t")[0], [])
        if (program := name.partition("-")[0]) not in of_user:  # the media workers are one user's
            of_user.append(program)
        if version and status(pid, "NoNewPrivs") != "1":
            yield Finding(f"daemon {name}", Verdict.BAD, "runs, but is not shut in", "stop it and start it with callseal up")
    yield from _compare_users(config, users)
    yield from _check_workers(config, [name for name, _pid in found])


def _check_workers(config: Config, names: list[str]) -> Iterator[Finding]:
    """Whether each media worker runs that signalling counts on, on a core of its own."""
    workers, cores = config.media.workers, len(os.sched_getaffinity(0))
    if workers > cores:
        fix = f"set media.workers to at most {cores}"
        yield Finding("media workers", Verdict.CARE, f"{workers} share {cores} cores", fix)
    elif workers > 1:
        yield Finding("media workers", Verdict.GOOD, f"{workers}, each on one of {cores} cores")
    for name in set(config.media_names) - set(names) if "sip" in names else ():
        fix = f"systemctl enable --now callseal-media@{name.partition('-')[2]}, or see logs/{name}.log"
        yield Finding(name, Verdict.BAD, "does not run: no call is placed on it", fix)


def _compare_users(config: Config, users: dict[str, list[str]]) -> Iterator[Finding]:
    together = [names for names in users.values() if len(names) > 1]
    if together and len(users) == 1:
        yield Finding(
            "users", Verdict.CARE, "all daemons run as one user: its root or owner can read the custodian's memory",
            "use the systemd units (a user each), or stand the custodian on another machine",
        )  # fmt: skip
    elif together:
        yield Finding("users", Verdict.BAD, f"one user runs {' and '.join(together[0])}", "use the systemd units as they are")
    elif users:
        yield Finding("users", Verdict.GOOD, f"each of {len(users)} daemons has a user of its own")
        owner = str((config.data / "custodian").stat().st_uid)
        if users.get(owner) != ["custodian"]:
            fix = "systemd-tmpfiles --create callseal.tmpfiles"
            yield Finding("custodian's folder", Verdict.BAD, "does not belong to the custodian's user", fix)


def running(config: Config) -> Iterator[tuple[str, int]]:
    """The daemons that run on this data folder: as the supervisor says, or, under systemd, as the kernel does."""
    state = config.run / "supervisor.json"
    if state.exists():
        for name, child in json.loads(state.read_text(encoding="utf-8")).items():
            if child["pid"] and Path(f"/proc/{child['pid']}").exists():
                yield name, child["pid"]
        return
    for path in sorted(Path("/proc").glob("[0-9]*/cmdline")):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        name = _name_of([word.decode(errors="replace") for word in words])
        if name and _runs_in(int(path.parent.name), config.run / f"{name}.address"):
            yield name, int(path.parent.name)


def _name_of(words: list[str]) -> str:
    """Which daemon a command line starts, as its address is named; empty for none."""
    if words[1:3] != ["-m", "callseal.daemons"] or len(words) < 4:
        return ""
    worker = words[words.index("--worker") + 1] if "--worker" in words[:-1] else "0"
    return f"media-{worker}" if words[3] == "media" else words[3]


def _runs_in(pid: int, address: Path) -> bool:
    """Whether a process is of the user who wrote this address: of this installation, and not of another on the machine."""
    return address.exists() and status(pid, "Uid").startswith(f"{address.stat().st_uid}\t")


def status(pid: int, field: str) -> str:
    """One line of a process's status (proc(5)); empty where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(f"{field}:")), "")
