"""What a call takes up: disk a call-hour for each codec, memory a stream: `python -m bench.sizes`, on the running parts."""

import os
import sys
import tempfile
from pathlib import Path

from callseal.phone.codec import CODECS
from callseal.store.calls import list_calls
from callseal.store.database import Database
from callseal.store.objects import object_path
from tests.conftest import Stack
from tests.media_rig import PCMA, Sender, running

SECONDS = 20
STREAMS = 400


def disk() -> None:
    """The sealed object of a real call with two speakers, and what the database and the log keep of it, by the hour."""
    with tempfile.TemporaryDirectory(prefix="cs-bench-", dir="/tmp") as folder:
        stack = Stack(Path(folder))
        stack.start()
        try:
            print(f"{'codec':8}{'object KiB/s':>14}{'MiB a call-hour':>17}   two streams, {SECONDS} s")
            for codec in CODECS:
                done = stack.cli(["call", "--synthetic", "--seconds", str(SECONDS), "--codec", codec])
                assert done.returncode == 0, done.stderr
                recording = str(stack.wait_call("sealed")["recording"])
                size = (stack.data / "objects" / object_path(recording, 0)).stat().st_size
                print(f"{codec:8}{size / SECONDS / 1024:14.2f}{size / SECONDS * 3600 / (1 << 20):17.1f}")
            database = Database(stack.config.database_url)
            with database.read() as connection:
                calls = len(list_calls(connection, 100))
            database.close()
            for name in ("database", "log", "events"):
                size = sum(path.stat().st_size for path in (stack.data / name).rglob("*") if path.is_file())
                print(f"{name}: {size / calls / 1024:.0f} KiB a call of {SECONDS} s, with what it begins with")
        finally:
            stack.stop()


def memory() -> None:
    """The media worker's resident memory before and after its streams have been opened and heard."""
    with tempfile.TemporaryDirectory(prefix="cs-bench-", dir="/tmp") as folder, running(Path(folder)) as rig:
        assert rig.process is not None
        before = _resident(rig.process.pid)
        senders = [Sender() for _ in range(STREAMS)]
        for first in range(0, STREAMS, 2):
            fields = [sender.stream(str(n), codecs=[PCMA]) for n, sender in enumerate(senders[first : first + 2])]
            for sender, port in zip(senders[first : first + 2], rig.open(os.urandom(16).hex(), fields), strict=True):
                sender.port = port
        for _ in range(100):
            for sender in senders:
                sender.send(b"\xd5" * 160)
        rig.ask("media.status")
        grown = _resident(rig.process.pid) - before
        print(f"media: {before / 1024:.0f} MiB at rest, {grown / STREAMS:.0f} KiB a stream over {STREAMS} streams")


def _resident(pid: int) -> int:
    """KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def main() -> int:
    """Measure and print."""
    disk()
    memory()
    return 0


if __name__ == "__main__":
    sys.exit(main())
