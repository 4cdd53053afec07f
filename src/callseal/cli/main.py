"""`callseal`: every command, and how an error becomes a sentence and an exit code (sysexits.h)."""

import importlib
import sys
from collections.abc import Iterable
from typing import NoReturn

import typer
from typer.exceptions import Abort, TyperException

from callseal.errors import CallsealError, answer_for

COMMANDS = {
    "up": "Run",
    "doctor": "Run",
    "drain": "Run",
    "prepare": "Run",
    "call": "Try",
    "calls": "Recordings",
    "play": "Recordings",
    "export": "Recordings",
    "verify": "Evidence",
    "reconcile": "Evidence",
    "keys": "Evidence",
    "peer": "Run",
    "private": "Private calls",
    "root": "Private calls",
    "page": "Private calls",
    "monitor": "Private calls",
    "witness": "Private calls",
}
"""Each command is a file here with a function of its name, or a group NAME_app; and the panel of the help that it stands in."""


def make_app(names: Iterable[str]) -> typer.Typer:
    """The program with these commands: a command starts without loading what only others need."""
    app = typer.Typer(
        name="callseal",
        help="Private call recording: sealed as it is recorded, opened only on the record, gone on time.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    app.callback()(lambda: None)  # one command alone is still named
    for name in names:
        module = importlib.import_module(f"callseal.cli.{name}")
        if group := getattr(module, f"{name}_app", None):
            app.add_typer(group, name=name, rich_help_panel=COMMANDS[name])
        else:
            app.command(rich_help_panel=COMMANDS[name])(getattr(module, name))
    return app


def main() -> NoReturn:
    """Run one command. A Callseal error is told in one sentence on stderr; its kind is the exit code."""
    asked = [name for name in sys.argv[1:2] if name in COMMANDS]
    try:
        code = make_app(asked or COMMANDS)(standalone_mode=False)
    except CallsealError as error:
        print(f"callseal: {error}", file=sys.stderr)
        sys.exit(answer_for(error).exit)
    except (Abort, KeyboardInterrupt):
        sys.exit(130)
    except TyperException as error:  # a wrong option or argument: typer says which
        print(f"callseal: {error.format_message()} See `callseal --help`.", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(141)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
