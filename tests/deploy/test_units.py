"""The systemd units are well formed, hardened, and keep the custodian's folder from everybody else."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).resolve().parent.parent.parent / "deploy" / "systemd"
NAMES = ("custodian", "watcher", "media@", "sip", "web", "witness", "turn")


def _unit(name: str) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNITS / f"callseal-{name}.service")
    return parser["Service"]


@pytest.mark.parametrize("name", NAMES)
def test_each_daemon_has_a_user_of_its_own_and_no_capability(name: str) -> None:
    unit = _unit(name)
    assert unit["User"] == f"callseal-{name.rstrip('@')}"
    assert unit["CapabilityBoundingSet"] == ""
    assert unit["NoNewPrivileges"] == "yes"
    assert unit["LimitCORE"] == "0"


@pytest.mark.parametrize("name", [name for name in NAMES if name != "custodian"])
def test_nobody_else_sees_the_custodians_folder(name: str) -> None:
    assert "/var/lib/callseal/custodian" in _unit(name)["InaccessiblePaths"].split()


def test_the_custodian_has_no_network() -> None:
    assert _unit("custodian")["RestrictAddressFamilies"] == "AF_UNIX"
    assert _unit("custodian")["IPAddressDeny"] == "any"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("name", NAMES)
def test_systemd_rates_the_exposure_low(name: str) -> None:
    said = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNITS / f"callseal-{name}.service")],
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    rated = re.search(r"exposure level for \S+: ([0-9.]+)", said)
    assert rated is not None, said
    assert float(rated.group(1)) <= 2.0
