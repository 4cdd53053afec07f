"""The documents keep their word: every command in them runs, every link in them leads somewhere."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from tests.conftest import Stack

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_CONSOLE = re.compile(r"```console\n(.*?)```", re.DOTALL)
_TOML = re.compile(r"```toml\n(.*?)```", re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#]+)")


def _commands() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for block in _CONSOLE.findall(page.read_text(encoding="utf-8")):
            found += [(page.name, line[2:]) for line in block.splitlines() if line.startswith("$ callseal ")]
    return found


@pytest.mark.real
@pytest.mark.timeout(300)
def test_every_command_in_the_documents_runs(stack: Stack) -> None:
    commands = _commands()
    assert len(commands) >= 8, "expected the documents to show commands"
    first = stack.cli(["call", "--seconds", "3"])
    assert first.returncode == 0, first.stderr
    stack.wait_call("sealed")
    for page, command in commands:
        done = stack.cli(shlex.split(command)[1:])
        assert done.returncode == 0, f"{page}: {command}: {done.stdout}{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    missing = [link for link in _LINK.findall(text) if not (page.parent / link.strip()).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_toml_example_is_toml(page: Path) -> None:
    for block in _TOML.findall(page.read_text(encoding="utf-8")):
        tomllib.loads("\n".join(line.strip() for line in block.splitlines()))


def test_no_page_claims_end_to_end_for_the_telephone_network() -> None:
    for page in PAGES:
        for sentence in re.split(r"(?<=[.!?])\s", page.read_text(encoding="utf-8")):
            if "end-to-end encrypted" in sentence.lower():
                assert "never" in sentence, f"{page.name}: {sentence}"
