"""`callseal page build` writes the same bytes each time, and prints the digest that a manifest names."""

import hashlib
from pathlib import Path

import pytest

from callseal.cli.page import build


def test_the_page_is_the_same_bytes_each_time_and_its_digest_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two"):
        assert build(tmp_path / name, "") == 0
    files = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert set(files) == {"index.html", "call.js", "call.css"}
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "two").iterdir()}
    printed = capsys.readouterr().out.split()
    assert printed == [hashlib.sha256(files["index.html"]).hexdigest()] * 2
    build(None, "https://call.example.com")
    assert capsys.readouterr().out.strip() != printed[0], "a page that connects elsewhere is another page"
