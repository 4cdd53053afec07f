"""The whole check, step by step: log, entries, history, sealing cards, recordings, certificates, an older checkpoint.

1. The checkpoint is signed by the pinned key. 2. Every entry and tile hashes to its root. 3. Every entry has its canonical
spelling and the shape of the table, and no source skips a number. 4. The entries are followed in order. 5. Cards, recordings,
rows and certificates are compared with them. 6. The log begins with what an older checkpoint signed, where one is given.
"""

import json
import zipfile
from pathlib import Path

from callseal_verify.cards import check_cards, check_certificates, check_details
from callseal_verify.entries import read_entries
from callseal_verify.history import follow
from callseal_verify.log import check_since, read_log
from callseal_verify.recordings import check_recordings
from callseal_verify.report import Report
from callseal_verify.source import Source, TooLarge, open_source

PACK = "pack.json"


def verify(
    path: Path | str, vkey: str | None = None, since: Path | str | None = None, recording: str | None = None
) -> Report:
    """Verify a data folder or an evidence pack.

    `vkey`: a verifier key line kept elsewhere; `since`: an older checkpoint file; `recording`: 32 hex digits, to look at the
    whole log but at the files of this recording alone.
    """
    report = Report(str(path))
    try:
        source = open_source(Path(path))
        old = Path(since).read_bytes() if since is not None else None
    except (OSError, zipfile.BadZipFile):
        report.unusable = f"{path}: expected a data folder or an evidence pack that can be read"
        return report
    if source.read("log/checkpoint") is None and next(source.names("log"), None) is None:
        report.unusable = f"{path}: expected a folder log/ in it"
        return report
    try:
        _verify(source, vkey, old, str(since), recording, report)
    except TooLarge as error:
        report.unusable = f"{error}: the file is larger than is read"
    except (PermissionError, zipfile.BadZipFile) as error:
        report.unusable = f"a file cannot be read: {error}"
    return report


def _verify(source: Source, vkey: str | None, old: bytes | None, old_name: str, recording: str | None, report: Report) -> None:
    log = read_log(source, "log", vkey, report)
    if log is None:
        return
    if old is not None:
        check_since(old, old_name, log, report)
    history = follow(read_entries(log, report), report)
    last = history.manifest
    if log.head.manifest != ((last["sequence"], last["manifest"]) if last else None):
        report.find("checkpoint", "log/checkpoint", "the manifest it names is not the newest that the log has")
    check_cards(source, log, history, report)
    check_recordings(source, history, _pack(source, report), recording, report)
    check_certificates(source, history, report)
    check_details(source, report)


def _pack(source: Source, report: Report) -> set[str] | None:
    """The recordings that an evidence pack says it holds; None for a data folder, which holds all."""
    data = source.read(PACK)
    if data is None:
        return None
    try:
        recordings = json.loads(data)["recordings"]
        return {str(recording) for recording in recordings}
    except (ValueError, KeyError, TypeError):
        report.find("pack", PACK, "it does not say which recordings the pack holds")
        return None
