"""`callseal`: every command, and how an error becomes a sentence and an exit code (sysexits.h)."""

import sys
from typing import NoReturn

import typer
from typer.exceptions import Abort, TyperException

from callseal.cli.call import call
from callseal.cli.calls import calls
from callseal.cli.doctor import doctor
from callseal.cli.drain import drain
from callseal.cli.export import export
from callseal.cli.keys import keys
from callseal.cli.peer import peer_app
from callseal.cli.play import play
from callseal.cli.up import up
from callseal.cli.verify import verify
from callseal.errors import CallsealError, answer_for

app = typer.Typer(
    name="callseal",
    help="Private call recording: sealed as it is recorded, opened only on the record, gone on time.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

for command, panel in (
    (up, "Run"),
    (doctor, "Run"),
    (drain, "Run"),
    (call, "Try"),
    (calls, "Recordings"),
    (play, "Recordings"),
    (export, "Recordings"),
    (verify, "Evidence"),
    (keys, "Evidence"),
):
    app.command(rich_help_panel=panel)(command)
app.add_typer(peer_app, name="peer", rich_help_panel="Run")


def main() -> NoReturn:
    """Run one command. A Callseal error is told in one sentence on stderr; its kind is the exit code."""
    try:
        code = app(standalone_mode=False)
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
