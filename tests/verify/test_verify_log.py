"""The verifier over logs that the writer wrote: whole ones pass, and every change, cut, swap and splice is found and named."""

import json
import random
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from callseal.audit.entry import make_entry
from callseal.audit.log import LogState
from callseal.audit.note import Signer, sign_note
from callseal.audit.tile import tiles_of
from callseal_verify.verify import verify

ORIGIN = "callseal.example/2026"
SIGNER = Signer.from_seed(ORIGIN, b"\x09" * 32)
AT = datetime(2026, 11, 24, tzinfo=UTC)
RUNS = (1, 2, 5, 252, 20, 15)
"""Entries of each append: past one full tile, with partial tiles of several widths."""


def make_entries(total: int) -> list[bytes]:
    entries = [make_entry("LogStarted", AT, "log", 1, origin=ORIGIN, vkey_sha256="ab" * 32)]
    return entries + [make_entry("Event", AT, "media-0", n, event="Sealed", status=n) for n in range(1, total)]


def write_log(folder: Path, entries: list[bytes], runs: tuple[int, ...] = RUNS, signer: Signer = SIGNER, tidy: bool = True) -> LogState:
    """Writes each run as the custodian does; keeps every checkpoint in `old/`, outside the log."""
    state, done = LogState(signer.verifier.name), 0
    (folder / "old").mkdir(parents=True, exist_ok=True)
    for count in runs:
        grown, writes = state.append(entries[done : done + count])
        for path, data in [*writes, grown.checkpoint(signer)]:
            (folder / "log" / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / "log" / path).write_bytes(data)
        (folder / "old" / str(grown.size)).write_bytes(grown.checkpoint(signer).data)
        for path in grown.superseded(state) if tidy else []:
            shutil.rmtree(folder / "log" / path, ignore_errors=True)
        state, done = grown, done + count
    (folder / "log" / "log.vkey").write_text(signer.verifier.vkey() + "\n")
    (folder / "log" / "origin").write_text(state.origin + "\n")
    return state


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    write_log(folder, make_entries(sum(RUNS)))
    return folder


@pytest.fixture
def copy(whole, tmp_path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "log").rglob("*") if path.is_file())


def test_a_whole_log_has_no_finding(whole):
    report = verify(whole, SIGNER.verifier.vkey())
    assert (report.findings, report.notes, report.exit_code) == ([], [], 0)
    assert report.head["size"] == sum(RUNS)


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257])
def test_logs_of_every_awkward_size_have_no_finding(tmp_path, size):
    write_log(tmp_path, make_entries(size)[:size], (size,))
    report = verify(tmp_path, SIGNER.verifier.vkey())
    assert (report.findings, report.exit_code) == ([], 0)


def test_partial_tiles_that_were_kept_are_checked_too(tmp_path):
    write_log(tmp_path, make_entries(sum(RUNS)), tidy=False)
    assert verify(tmp_path, SIGNER.verifier.vkey()).findings == []
    old = tmp_path / "log" / "tile" / "entries" / "000.p" / "3"
    old.write_bytes(old.read_bytes()[:-1] + b"!")
    assert [finding.where for finding in verify(tmp_path, SIGNER.verifier.vkey()).findings] == ["log/tile/entries/000.p/3"]


def test_one_changed_byte_at_a_sample_of_every_file_s_offsets_is_found_and_the_file_is_named(copy):
    chooser = random.Random(2026)
    for path in files_of(copy):
        good, name = path.read_bytes(), path.relative_to(copy).as_posix()
        offsets = {0, len(good) - 1, *chooser.sample(range(len(good)), min(len(good), 12))}
        for offset in offsets:
            bad = bytearray(good)
            bad[offset] ^= chooser.randrange(1, 256)
            path.write_bytes(bad)
            report = verify(copy, SIGNER.verifier.vkey())
            assert report.exit_code == 1, f"{name} at {offset}"
            assert any(name in finding.where for finding in report.findings), f"{name} at {offset}: {report.findings}"
        path.write_bytes(good)
    assert verify(copy, SIGNER.verifier.vkey()).exit_code == 0


@pytest.mark.parametrize("cut", [1, 33, 200])
def test_every_file_that_is_cut_or_missing_or_longer_is_found_and_named(copy, cut):
    tiles = list(tiles_of(sum(RUNS)))
    needed = {f"log/{path}" for path in ["checkpoint", *(t.path() for t in tiles), *(t.bundle_path() for t in tiles if not t.level)]}
    for path in files_of(copy):
        good, name = path.read_bytes(), path.relative_to(copy).as_posix()
        end = 1 if path.name in ("log.vkey", "origin") else 0  # the newline that ends a line may go
        for change in [good[: -cut - end], good + b"\x00" * cut, *([None] if name in needed else [])]:
            path.unlink()
            if change is not None:
                path.write_bytes(change)
            report = verify(copy, SIGNER.verifier.vkey())
            assert any(name in finding.where for finding in report.findings), f"{name}: {report.findings}"
            path.write_bytes(good)


def test_two_entries_swapped_are_both_named(copy):
    path = copy / "log" / "tile" / "entries" / "000"
    data = path.read_bytes()
    first, second = make_entries(20)[7], make_entries(20)[8]
    assert len(first) == len(second)
    path.write_bytes(data.replace(first, b"?" * len(first)).replace(second, first).replace(b"?" * len(first), second))
    found = {finding.where.split(" in ")[0] for finding in verify(copy, SIGNER.verifier.vkey()).findings}
    assert {"entry 7", "entry 8"} <= found


def test_an_entry_changed_together_with_its_tile_is_still_found(copy, tmp_path):
    entries = make_entries(sum(RUNS))
    entries[260] = make_entry("Event", AT, "media-0", 260, event="Gap")
    write_log(tmp_path / "forged", entries)
    for part in ("tile/0", "tile/entries"):
        shutil.copytree(tmp_path / "forged" / "log" / part, copy / "log" / part, dirs_exist_ok=True)
    report = verify(copy, SIGNER.verifier.vkey())
    assert any("neither" in finding.why for finding in report.findings)


def test_the_tile_and_not_the_entry_is_named_where_the_tile_is_wrong(copy):
    tile = copy / "log" / "tile" / "0" / "000"
    tile.write_bytes(bytes(32) + tile.read_bytes()[32:])
    found = verify(copy, SIGNER.verifier.vkey()).findings
    assert {finding.what for finding in found} == {"log tile"}


def test_a_log_rewritten_under_another_key_is_refused_by_the_pinned_key(tmp_path):
    other = Signer.from_seed(ORIGIN, b"\x0a" * 32)
    write_log(tmp_path, make_entries(sum(RUNS)), signer=other)
    assert verify(tmp_path).exit_code == 0
    assert verify(tmp_path).notes != []
    where = {finding.where for finding in verify(tmp_path, SIGNER.verifier.vkey()).findings}
    assert where == {"log/log.vkey", "log/checkpoint"}


def test_a_log_cut_back_to_an_older_checkpoint_is_found_by_a_newer_one(whole, copy):
    newest = whole / "old" / str(sum(RUNS))
    (copy / "log" / "checkpoint").write_bytes((copy / "old" / "280").read_bytes())
    # Alone it cannot be told from a log whose last append was killed: that is the stated limit, and it is noted.
    alone = verify(copy, SIGNER.verifier.vkey())
    assert (alone.exit_code, [note.where for note in alone.notes]) == (0, ["log/tile"])
    report = verify(copy, SIGNER.verifier.vkey(), newest)
    assert any("the log was cut" in finding.why for finding in report.findings)


def test_every_older_checkpoint_is_continued(whole):
    for old in (whole / "old").iterdir():
        assert verify(whole, SIGNER.verifier.vkey(), old).exit_code == 0


def test_a_rewritten_log_is_found_by_an_older_checkpoint(whole, tmp_path):
    entries = make_entries(sum(RUNS))
    entries[3] = make_entry("Event", AT, "media-0", 3, event="Gap")
    write_log(tmp_path, entries)
    assert verify(tmp_path, SIGNER.verifier.vkey()).exit_code == 0
    assert verify(tmp_path, SIGNER.verifier.vkey(), whole / "old" / "3").exit_code == 0
    report = verify(tmp_path, SIGNER.verifier.vkey(), whole / "old" / "260")
    assert any("rewritten" in finding.why for finding in report.findings)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda e: e.pop(5), "numbers 5 to 5 are missing"),
        (lambda e: e.insert(5, e[5]), "comes a second time"),
        (lambda e: e.insert(5, b'{"v":1}'), "its type is not in the table"),
        (lambda e: e.insert(5, e[5].replace(b'"n":5', b'"n": 5')), "not canonical"),
        (lambda e: e.insert(5, e[5].replace(b'"v":1', b'"v":1,"words":"Ada"')), "a field that it may not have"),
        (lambda e: e.insert(5, e[5].replace(b'"status":5', b'"status":5.5')), "holds what it may not hold"),
        (lambda e: e.pop(0), "does not begin with the start"),
        (lambda e: e.append(make_entry("PartSealed", AT, "log", 2, what="ab" * 16, part=0, messages=1, last_commitment="ab" * 32,
                                       object_sha256="ab" * 32, state="ended")), "never adopted"),
        (lambda e: e.append(make_entry("DestructionFinal", AT, "log", 2, index=3, driver="file")), "never logged"),
    ],
)  # fmt: skip
def test_a_signed_log_that_contradicts_itself_is_found(tmp_path, change, why):
    entries = make_entries(20)
    change(entries)
    write_log(tmp_path, entries, (len(entries),))
    findings = verify(tmp_path, SIGNER.verifier.vkey()).findings
    assert any(why in finding.why for finding in findings), findings


def test_a_run_of_events_counts_for_its_numbers(tmp_path):
    entries = [*make_entries(3), make_entry("Event", AT, "media-0", 3, event="Sealed", through=9)]
    entries.append(make_entry("Event", AT, "media-0", 10, event="Sealed"))
    write_log(tmp_path, entries, (5,))
    assert verify(tmp_path, SIGNER.verifier.vkey()).findings == []


def test_a_checkpoint_that_another_note_s_signature_was_put_on_is_refused(copy):
    note = (copy / "log" / "checkpoint").read_bytes()
    card = sign_note("callseal/v1/card\n", SIGNER)
    (copy / "log" / "checkpoint").write_bytes(note.split(b"\n\n")[0] + b"\n\n" + card.split(b"\n\n")[1])
    assert [finding.where for finding in verify(copy, SIGNER.verifier.vkey()).findings] == ["log/checkpoint"]


def test_what_is_not_a_file_of_a_log_is_named_and_an_unfinished_write_is_noted(copy):
    (copy / "log" / "tile" / "0" / "extra").write_text("x")
    (copy / "log" / ".checkpoint.7.tmp").write_text("x")
    (copy / "log" / "tile" / "0" / "002.p").mkdir()
    (copy / "log" / "tile" / "0" / "002.p" / "9").write_bytes(bytes(288))
    report = verify(copy, SIGNER.verifier.vkey())
    assert [finding.where for finding in report.findings] == ["log/tile/0/extra"]
    assert {note.where for note in report.notes} == {"log/.checkpoint.7.tmp", "log/tile"}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "callseal_verify", *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_the_command_says_what_it_checked_and_exits_0_1_or_2(whole, copy, tmp_path):
    key = tmp_path / "kept.vkey"
    key.write_text(SIGNER.verifier.vkey() + "\n")
    good = run(str(whole), "--vkey", str(key), "--since", str(whole / "old" / "8"))
    assert good.returncode == 0
    assert f"{sum(RUNS)} log entries" in good.stdout
    assert "Nothing was changed" in good.stdout
    (copy / "log" / "checkpoint").write_bytes((copy / "old" / "8").read_bytes().replace(b"\n8\n", b"\n9\n"))
    bad = run(str(copy), "--vkey", str(key), "--json")
    assert bad.returncode == 1
    assert json.loads(bad.stdout)["findings"][0]["where"] == "log/checkpoint"
    for arguments in ([str(tmp_path / "nothing")], [str(tmp_path)], [str(whole), "--vkey", str(tmp_path / "none")]):
        assert run(*arguments).returncode == 2


def test_a_pack_is_read_from_a_zip_file_as_from_a_folder(whole, tmp_path):
    shutil.make_archive(str(tmp_path / "pack"), "zip", whole)
    assert verify(tmp_path / "pack.zip", SIGNER.verifier.vkey()).exit_code == 0
    (tmp_path / "inner").mkdir()
    shutil.copytree(whole, tmp_path / "inner" / "evidence")
    shutil.make_archive(str(tmp_path / "deep"), "zip", tmp_path / "inner")
    report = verify(tmp_path / "deep.zip", SIGNER.verifier.vkey())
    assert (report.exit_code, report.head["size"]) == (0, sum(RUNS))
