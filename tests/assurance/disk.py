"""A search of the whole disk for what was spoken, in raw, G.711, base64 and hex form, after a line that was killed in mid-call.

The line can write to one disk only, of its own: the image behind its loop device is searched raw and whole, at every stage. Then the root file
system of this machine is searched too: its raw block device where the kernel lets root open it, every file of it where not
(`root_device_opened` says which). The control, a recorder that does not seal, leaves its speech on both, and is found on both.
"""

import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.own_disk import own_disk
from tests.spoken_line import DAEMONS, MEMORY, build_detector, record_unsealed, speak_and_kill


def run(rounds: int, seed: int) -> dict[str, Any]:
    """Kill each process `rounds` times; returns the counts that `tests.assurance.figures` holds to the promise."""
    del seed  # nothing is chosen here: the marks are drawn by the system's generator
    counts: dict[str, Any] = {"rounds": rounds, "kills": rounds * len(DAEMONS), "swaps": _count_swaps()}
    with TemporaryDirectory(dir=MEMORY) as marks, TemporaryDirectory(prefix="cs-", dir="/tmp") as folder:
        (Path(marks) / "sealed").mkdir()
        (Path(marks) / "control").mkdir()
        _search_own_disk(Path(folder), Path(marks), rounds, counts)
        _search_root(Path(folder), Path(marks), counts)
    return counts


def _search_own_disk(folder: Path, marks: Path, rounds: int, counts: dict[str, Any]) -> None:
    counts |= {"own_disk_searches": 0, "own_disk_bytes_read": 0, "own_disk_hits": 0}
    with own_disk(folder, megabytes=1024) as disk:

        def look(_when: str) -> None:
            disk.flush()
            detector = build_detector(marks / "sealed")
            counts["own_disk_hits"] += len(detector.search([disk.image]))
            counts["own_disk_searches"] += 1
            counts["own_disk_bytes_read"] += detector.searched_bytes

        counts["calls"] = speak_and_kill(disk, marks / "sealed", look, rounds)
        kept = record_unsealed(disk.root, marks / "control", disk.environment)
        disk.flush()
        kept.unlink()
        disk.flush()
        counts["own_disk_deleted_control_hits"] = len(build_detector(marks / "control").search([disk.image]))


def _search_root(folder: Path, marks: Path, counts: dict[str, Any]) -> None:
    planted = folder / "control"
    planted.mkdir()
    kept = record_unsealed(planted, marks / "control", {})
    device = Path(_output("findmnt", "-no", "SOURCE", "/"))
    counts["root_device_opened"] = int(_opens(device))
    place = device if counts["root_device_opened"] else Path("/")
    os.sync()
    if counts["root_device_opened"]:
        subprocess.run(["blockdev", "--flushbufs", str(device)], check=True)  # what its cache holds may be older than the disk
    sealed, control = build_detector(marks / "sealed"), build_detector(marks / "control")
    counts["payload_bytes"] = sum(len(stream) for stream in sealed.streams)
    counts["root_hits"] = len(sealed.search([place]))
    counts["root_bytes_read"] = sealed.searched_bytes
    counts["root_unreadable"] = len([path for path in sealed.unreadable if path.exists()])
    counts["root_control_hits"] = len(control.search([place] if counts["root_device_opened"] else [kept.parent]))


def _opens(device: Path) -> bool:
    try:
        os.close(os.open(device, os.O_RDONLY))
    except OSError:
        return False
    return True


def _count_swaps() -> int:
    return len(Path("/proc/swaps").read_text(encoding="ascii").splitlines()) - 1


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
