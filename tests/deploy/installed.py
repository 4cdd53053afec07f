"""Callseal as deploy/systemd installs it: its users, its folders, and each unit's program as that unit's user.

systemd itself need not run here. systemd-sysusers makes the real users (they are removed after), and in a mount namespace of its
own, where /opt/callseal is this project and /var/lib/callseal a folder of the test's, systemd-tmpfiles makes the folders and every
ExecStart is started as the unit says: user, groups, umask, environment, no capability. Root only.
"""

import configparser
import ctypes
import grp
import os
import pwd
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from callseal.config.settings import Config, load_config

ROOT = Path(__file__).resolve().parent.parent.parent
UNITS = ROOT / "deploy" / "systemd"
DAEMONS = ("custodian", "watcher", "media", "sip", "web")
"""The users."""
PROGRAMS = ("custodian", "watcher", "media@0", "media@1", "sip", "web")
PYTHON = Path(sys.base_prefix).resolve()
DATA = Path("/var/lib/callseal")
_SETTINGS = Path("/etc/callseal/callseal.toml")
_CLONE_NEWNS = 0x20000


class Installed:
    """The installation in `folder`. `enter` runs a program where it is installed, as one of its users or as root."""

    def __init__(self, folder: Path) -> None:
        self.data, self.settings = folder / "data", folder / "callseal.toml"
        self.data.mkdir(mode=0o755)
        ports = _free_port(), _free_port()
        self.settings.write_text(
            f'data = "{DATA}"\n[sip]\nport = {ports[0]}\n[web]\nport = {ports[1]}\n[media]\nworkers = 2\n', encoding="utf-8"
        )
        folder.chmod(0o755)
        self.config: Config = load_config(self.settings)
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self._made = {kind: [name for name in _named(kind) if not _exists(name)] for kind in ("u", "g")}
        subprocess.run(["systemd-sysusers", str(UNITS / "callseal.sysusers")], check=True, capture_output=True)
        self._holder = subprocess.Popen(
            ["sleep", "infinity"], preexec_fn=lambda: self._make_place(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._wait_place()
        self.run("systemd-tmpfiles", "--create", "/opt/callseal/deploy/systemd/callseal.tmpfiles")

    def enter(self, *command: str, user: str = "root") -> list[str]:
        """The command line that runs a program there. As a daemon's user: with its groups, and no capability."""
        inside = ["nsenter", "-m", "-t", str(self._holder.pid), "--"]
        if user != "root":
            inside += ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--no-new-privs"]
            inside += ["--inh-caps=-all", "--bounding-set=-all", "--"]
        return [*inside, *command]

    def run(self, *command: str, user: str = "root", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program there to its end."""
        done = subprocess.run(
            self.enter(*command, user=user), capture_output=True, text=True, env=self.environment, timeout=120, check=False
        )
        assert done.returncode == 0 or not check, f"{command}: {done.stdout}{done.stderr}"
        return done

    def callseal(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command of the operator's, as root."""
        return self.run("/opt/callseal/.venv/bin/python", "-m", "callseal.cli.main", *arguments, check=check)

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": "/opt/callseal/src", "CALLSEAL_CONFIG": str(self.settings)}

    def start(self, name: str) -> None:
        """Start a unit's program as the unit says, and wait until it tells systemd that it is ready."""
        unit = _read_unit(name)
        command = shlex.split(unit["ExecStart"].replace(str(_SETTINGS), str(self.settings)).replace("%i", name.partition("@")[2]))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            told = self.settings.parent / f"{name}.notify"
            told.unlink(missing_ok=True)
            notify.bind(str(told))
            told.chmod(0o666)
            notify.settimeout(60)
            environment = self.environment | dict(pair.split("=", 1) for pair in unit["Environment"].split())
            environment["NOTIFY_SOCKET"] = str(told)
            with (self.settings.parent / f"{name}.log").open("w") as log:
                self.processes[name] = subprocess.Popen(
                    self.enter(*command, user=unit["User"]), env=environment, stdout=log, stderr=log, text=True,
                    umask=int(unit["UMask"], 8),
                )  # fmt: skip
            while True:
                try:
                    said, files, _flags, _from = socket.recv_fds(notify, 256, 4)
                except TimeoutError:
                    raise AssertionError(f"{name} is not ready: {self.log(name)}") from None
                for file in files:
                    os.close(file)
                if b"READY=1" in said:
                    return

    def log(self, name: str) -> str:
        return (self.settings.parent / f"{name}.log").read_text(errors="replace")[-3000:]

    def close(self) -> None:
        """End every daemon, the namespace, and the users that were not there before."""
        for process in reversed(self.processes.values()):
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(15)
            process.kill()
            process.wait()
        self._holder.kill()
        self._holder.wait()
        for user in self._made["u"]:
            subprocess.run(["userdel", user], check=True, capture_output=True)
        for group in self._made["g"]:
            subprocess.run(["groupdel", group], check=True, capture_output=True)

    def _make_place(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(_CLONE_NEWNS) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        commands = ["mount --make-rprivate /"]
        for parent, name, source in (("/opt", "callseal", ROOT), ("/var/lib", "callseal", self.data)):
            commands += [f"mount -t tmpfs -o mode=755 tmpfs {parent}", f"mkdir {parent}/{name}"]
            commands += [f"mount --bind {source} {parent}/{name}"]
        hidden = next((folder for folder in reversed(PYTHON.parents) if not folder.stat().st_mode & 1), None)
        if hidden is not None:  # an interpreter that lies in somebody's home: shown to all, and nothing else there is
            commands += ["mkdir /opt/python", f"mount --bind {PYTHON} /opt/python", f"mount -t tmpfs -o mode=755 tmpfs {hidden}"]
            commands += [f"mkdir -p {PYTHON}", f"mount --bind /opt/python {PYTHON}"]
        for command in commands:
            subprocess.run(shlex.split(command), check=True)

    def _wait_place(self) -> None:
        end = time.monotonic() + 20
        while "/opt/callseal" not in Path(f"/proc/{self._holder.pid}/mountinfo").read_text():
            assert time.monotonic() < end and self._holder.poll() is None, "the namespace was not made"
            time.sleep(0.02)


def _read_unit(name: str) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    program, at, _instance = name.partition("@")
    parser.read(UNITS / f"callseal-{program}{at}.service")
    return parser["Service"]


def _named(kind: str) -> list[str]:
    """The users (`u`) or groups (`g`) of the file as it is shipped."""
    lines = (UNITS / "callseal.sysusers").read_text().splitlines()
    return [words[1] for words in map(str.split, lines) if words[:1] == [kind]]


def _exists(name: str) -> bool:
    known = [user.pw_name for user in pwd.getpwall()] + [group.gr_name for group in grp.getgrall()]
    return name in known


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tries(installed: Installed, user: str, places: Sequence[str]) -> dict[str, set[str]]:
    """As a user: in which of the data folder's places some file can be read, or a file made. `{"read": …, "write": …}`."""
    attempt = """
import os, sys
from pathlib import Path
for place in sys.argv[1:]:
    top = Path("/var/lib/callseal") / place
    try:
        (top / ".planted").touch(); (top / ".planted").unlink(); print("write", place)
    except OSError:
        pass
    for folder, _folders, names in os.walk(top):
        for name in names:
            try:
                with open(Path(folder) / name, "rb") as file:
                    file.read(1)
                print("read", place, name)
            except OSError:
                pass
"""
    said = installed.run("/opt/callseal/.venv/bin/python", "-c", attempt, *places, user=user).stdout
    found: dict[str, set[str]] = {"read": set(), "write": set()}
    for line in said.splitlines():
        what, place, *_name = line.split(" ", 2)
        found[what].add(place)
    return found
