"""The configuration file is read strictly: a misspelt key is an error, not a silent default."""

import re
from pathlib import Path

import pytest

from callseal.config.settings import Config, load_config
from callseal.daemons.first_start import write_settled
from callseal.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent.parent


def _write(folder: Path, text: str) -> Path:
    path = folder / "callseal.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("dta = 'x'", "dta"),
        ("[sip]\nprt = 1", "sip.prt"),
        ("[sip]\nport = '5061'", "sip.port"),
        ("[web]\nport = true", "web.port"),
        ("sip = 3", "sip"),
        ("[sip", "callseal.toml"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(named)):
        load_config(_write(tmp_path, text))


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="found none"):
        load_config(tmp_path / "no.toml")


def test_the_commented_file_states_the_defaults(tmp_path: Path) -> None:
    text = (ROOT / "deploy" / "callseal.toml").read_text(encoding="utf-8")
    uncommented = re.sub(r"(?m)^# (?=[a-z_]+ = )", "", text)
    uncommented = uncommented.replace('origin = "https://calls.example.com"', 'origin = ""').replace(
        'data = "~/', f'data = "{Path.home()}/'
    )
    read = load_config(_write(tmp_path, uncommented))
    assert read == Config(data=Path.home() / ".local/share/callseal")


def test_settled_settings_read_back_the_same(tmp_path: Path) -> None:
    config = Config(data=tmp_path, business='Smith "&" \\ Sons')
    config.run.mkdir()
    assert load_config(write_settled(config)) == config
