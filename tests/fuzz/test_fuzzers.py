"""The fuzzers themselves: the kept corpus passes, and a planted fault is found, so that silence means something."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.inputs import CORPUS, TARGETS
from fuzz.targets import TARGETS as FUNCTIONS

ROOT = CORPUS.parent.parent


@pytest.mark.parametrize("target", TARGETS)
def test_every_kept_input_passes(target: str):
    inputs = sorted((CORPUS / target).iterdir())
    assert len(inputs) >= 2
    for path in inputs:
        FUNCTIONS[target](path.read_bytes())


def test_a_planted_fault_is_found_and_its_input_kept(tmp_path: Path):
    state = tmp_path / "planted.json"
    arguments = ["planted", "--state", str(state), "--corpus", str(tmp_path / "corpus"), "--cpu-seconds", "60"]
    ended = subprocess.run([sys.executable, "-m", "fuzz.one", *arguments], cwd=ROOT, capture_output=True, timeout=110, check=False)
    assert ended.returncode == 1 and "ValueError: planted" in json.loads(state.read_text())["error"]
    assert state.with_suffix(".input").read_bytes().startswith(b"CSR1")
