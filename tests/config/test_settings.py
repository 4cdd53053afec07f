"""The configuration file is read strictly: a misspelt key is an error, not a silent default."""

import re
from dataclasses import is_dataclass, replace
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


def test_every_setting_of_every_section_reaches_the_daemons(tmp_path: Path) -> None:
    """Each is given a value that is not its default, so that one left out would show."""

    chosen = {"engine": "openssl", "security": "implicit", "at": "07:30", "sender": "calls@example.com", "to": "officer@example.com"}

    def other(key: str, value: object) -> object:
        if key in chosen or isinstance(value, bool):
            return chosen.get(key, not value)
        return value + 1 if isinstance(value, int) else f"{value}-other" if isinstance(value, str) else value

    sections = {
        name: replace(values, **{key: other(key, value) for key, value in vars(values).items()})
        for name, values in vars(Config()).items() if is_dataclass(values)
    }  # fmt: skip
    assert len(sections) > 5
    config = replace(Config(data=tmp_path), **sections)
    config.run.mkdir()
    assert load_config(write_settled(config)) == config
