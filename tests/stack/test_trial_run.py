"""`callseal up --try`, without a terminal or a browser: a sealed call, links to enrol, and it goes on until it is stopped."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.real


@pytest.mark.timeout(180)
def test_the_trial_ends_with_a_sealed_call_and_goes_on_running(short_folder: Path) -> None:
    environment = dict(os.environ, CALLSEAL_DATA=str(short_folder / "data"), HOME=str(short_folder))
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "CALLSEAL_CONFIG"):
        environment.pop(name, None)
    trial = subprocess.Popen(
        [sys.executable, "-m", "callseal.cli.main", "up", "--try", "--seconds", "3"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=short_folder,
    )  # fmt: skip
    assert trial.stdout is not None
    said = ""
    try:
        for line in trial.stdout:
            said += line
            if "goes on running" in line:
                break
        assert trial.poll() is None, said
        assert "INVITE → 200 OK" in said
        assert "SRTP AEAD_AES_256_GCM" in said
        assert said.count("/enrol#") == 2, said
        assert "ssh -L" in said

        def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, "-m", "callseal.cli.main", *arguments],
                capture_output=True, text=True, env=environment, cwd=short_folder, check=False,
            )  # fmt: skip

        calls = json.loads(ask("calls", "--json").stdout)
        assert [call["state"] for call in calls] == ["sealed"]
        assert ask("verify").returncode == 0
    finally:
        trial.send_signal(signal.SIGTERM)
        rest, _ = trial.communicate(timeout=60)
    assert trial.returncode == 0, rest
    assert "Callseal has stopped" in rest
