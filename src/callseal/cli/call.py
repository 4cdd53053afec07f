"""`callseal call`: place one or many real encrypted calls to the recorder and show how they go.

Where nothing else is said, the recorder is the one that runs here: its address, its CA and the test phone's certificate are read
from the data folder.
"""

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from callseal.config.settings import Config, load_config
from callseal.config.vendors import list_vendors, load_vendor
from callseal.errors import RequestError, Unavailable, answer_for
from callseal.phone.call import Plan
from callseal.phone.codec import CODECS, find_codec
from callseal.phone.line import Destination
from callseal.phone.load import MAX_CALLS, Load, make_payloads
from callseal.phone.marks import list_marks, write_marks
from callseal.phone.metadata import Participant
from callseal.phone.sdp import SUITES
from callseal.phone.speech import find_speech, read_speech, synthetic_speech

DEFAULT_SECONDS = 20.0
_NUMBER = re.compile(r"[+0-9A-Za-z._*#-]{1,40}")

console = Console(highlight=False, soft_wrap=True)


def call(
    wav: Annotated[list[Path] | None, typer.Argument(help="A WAV file (stereo: customer, staff), or one for each.")] = None,
    count: Annotated[int, typer.Option(min=1, max=MAX_CALLS, help="How many calls at once.")] = 1,
    seconds: Annotated[
        float | None, typer.Option(min=0.02, max=86400, help="How long each lasts. [default: 20, or the WAV's]")
    ] = None,
    suite: Annotated[str | None, typer.Option(help=f"Offer only this: {', '.join(SUITES)}. [default: all, best first]")] = None,
    codec: Annotated[str, typer.Option(help=f"One of {', '.join(CODECS)}.")] = "PCMA",
    streams: Annotated[int, typer.Option(min=1, max=2, help="2: customer and staff apart. 1: both mixed.")] = 2,
    to: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="The recorder. [default: the one that runs here]")] = None,
    cert: Annotated[Path | None, typer.Option(help="The phone's certificate (PEM).")] = None,
    key: Annotated[Path | None, typer.Option(help="Its private key (PEM).")] = None,
    ca: Annotated[Path | None, typer.Option(help="The CA that signed the recorder's certificate (PEM).")] = None,
    number: Annotated[list[str] | None, typer.Option(help="The customer's number; given again, the staff's.")] = None,
    name: Annotated[list[str] | None, typer.Option(help="The customer's name; given again, the staff's.")] = None,
    rate: Annotated[float, typer.Option(min=0.1, max=200, help="New calls a second.")] = 10.0,
    tones: Annotated[str, typer.Option(help="Keypad tones that the customer sends after one second.")] = "",
    no_metadata: Annotated[bool, typer.Option("--no-metadata", help="Send SDP alone, as many phones do.")] = False,
    speech: Annotated[bool, typer.Option("--speech/--synthetic", help="Human speech (fetched once), or a made-up voice.")] = True,
    like: Annotated[str | None, typer.Option(help=f"In the shape of: {', '.join(list_vendors())}.")] = None,
    secret: Annotated[
        str | None, typer.Option(help="As a cloud sender: this word in the URI, and no certificate.", envvar="CALLSEAL_SECRET")
    ] = None,
    marks: Annotated[Path | None, typer.Option(help="For tests: mark each second, and write what is sent to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Say how it went as JSON.")] = False,
) -> int:
    """Place a real encrypted call: SIP over TLS, SRTP, two people speaking."""
    config = load_config()
    shape = load_vendor(like).shape if like else None
    chosen = find_codec(shape.codec if shape else codec)
    streams = len(shape.labels) if shape else streams
    if suite is not None and suite not in SUITES:
        raise RequestError(f"suite: expected one of {', '.join(SUITES)}, got {suite[:40]}")
    plan = Plan(
        codec=chosen,
        suites=(suite,) if suite else shape.suites if shape else tuple(SUITES),
        participants=_participants(number or [], name or []),
        metadata=not no_metadata,
        labels=shape.labels if shape else ("1", "2")[:streams],
        shape=shape,
    )
    destination = _destination(config, to, ca, cert, key)
    if secret is not None:
        destination = replace(destination, certificate=None, key=None, user=secret)
    said = read_speech(wav) if wav else find_speech(config.data / "speech") if speech else synthetic_speech("")
    lasting = seconds or (len(said.customer) / 8000 if wav else DEFAULT_SECONDS)
    payloads = [make_payloads(said, chosen, lasting, streams, marks is not None) for _ in range(count if marks else 1)]
    if marks is not None:
        write_marks(marks, [mark for index, tracks in enumerate(payloads) for mark in list_marks(index, plan.labels, tracks)])
    load = Load(destination, plan, payloads, count, lasting, rate, tones)
    if not as_json:
        console.print(f"[dim]{chosen.name}, {said.source}[/]")
    _run(load, quiet=as_json)
    if as_json:
        print(json.dumps(_summary(load, said.source), indent=2))
    failed = [outcome.error for outcome in load.outcomes if outcome.error is not None]
    if failed and not as_json and count == 1:
        raise failed[0]
    if failed and not as_json:
        console.print(f"[bold red]{len(failed)} of {count} calls failed[/], first: {failed[0]}", style="red")
    return answer_for(failed[0]).exit if failed else 0


def _run(load: Load, quiet: bool) -> None:
    if quiet or not console.is_terminal:
        asyncio.run(load.run(lambda _: None))
        if not quiet and any(outcome.error is None for outcome in load.outcomes):
            console.print(_line(load))
        return
    with Live(console=console, auto_refresh=False) as live:
        asyncio.run(load.run(lambda running: live.update(_line(running), refresh=True)))
        live.update(_line(load), refresh=True)


def _line(load: Load) -> Text:
    """One line that says how the calls go."""
    calls = [outcome.call for outcome in load.outcomes if outcome.call is not None]
    answered = [placed for placed in calls if placed.answers]
    if not answered:
        return Text(f"INVITE over {load.tls} …" if load.tls else "connecting …")
    first = answered[0]
    setup = np.median([placed.setup_ms for placed in answered])
    spoken = max(len(track.sent_at) for placed in answered for track in placed.tracks) / 50
    states = [outcome.state for outcome in load.outcomes]
    text = Text()
    if load.count > 1:
        text.append(", ".join(f"{states.count(state)} {state}" for state in ("talking", "ended", "failed")) + "  ", "bold")
    text.append("INVITE → 200 OK", "green").append(f" in {setup:.0f} ms, {load.tls}, SRTP {first.answers[0].crypto.suite}, ")
    text.append(f"{len(first.tracks)} track{'s' * (len(first.tracks) > 1)}, ").append(_clock(spoken), "bold")
    text.append(f" of {_clock(load.seconds)}")
    if all(state == "ended" for state in states):
        text.append(", BYE → 200 OK", "green")
    return text


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"


def _summary(load: Load, source: str) -> dict[str, Any]:
    late = np.asarray(load.pacer.late_ms)
    return {
        "tls": load.tls,
        "speech": source,
        "late_ms_p99": round(float(np.percentile(late, 99)), 2) if len(late) else None,
        "calls": [
            {
                "state": outcome.state,
                "error": str(outcome.error) if outcome.error else None,
                "call_id": outcome.call.dialog.call_id if outcome.call else None,
                "setup_ms": round(outcome.call.setup_ms, 1) if outcome.call else None,
                "tracks": [
                    {
                        "label": track.label,
                        "suite": answer.crypto.suite,
                        "packets": len(track.sent_at),
                        "refused": track.refused,
                        "first_sent_at": track.sent_at[0] if track.sent_at else None,
                    }
                    for track, answer in zip(outcome.call.tracks, outcome.call.answers, strict=False)
                ]
                if outcome.call
                else [],
            }
            for outcome in load.outcomes
        ],
    }


def _participants(numbers: Sequence[str], names: Sequence[str]) -> tuple[Participant, ...]:
    if len(numbers) > 2 or len(names) > 2:
        raise RequestError("number, name: expected at most two of each, the customer's and the staff's")
    people = list(Plan().participants)
    for index, value in enumerate(numbers):
        if not _NUMBER.fullmatch(value):
            raise RequestError("number: expected up to 40 characters of a telephone number or extension")
        people[index] = Participant(f"sip:{value}@example.com", people[index].name)
    for index, value in enumerate(names):
        people[index] = Participant(people[index].aor, value[:80])
    return tuple(people)


def _destination(config: Config, to: str | None, ca: Path | None, cert: Path | None, key: Path | None) -> Destination:
    """Where to call: as said, or as the running recorder says. Raises Unavailable, RequestError."""
    address = to
    if address is None:
        try:
            address = (config.run / "sip.address").read_text(encoding="utf-8").strip()
        except OSError as error:
            raise Unavailable(f"no recorder runs in {config.data}: start `callseal up`, or name one with --to") from error
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or not 0 < int(port) < 65536:
        raise RequestError("to: expected HOST:PORT")
    host = host.strip("[]")
    tls = config.data / "tls"
    return Destination(
        host={"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host),  # noqa: S104 - where it listens, not where we do
        port=int(port),
        server_name=host if to is not None and ca is not None else config.sip.server_name,
        ca=ca or tls / "ca.pem",
        certificate=cert or tls / "phone.pem",
        key=key or tls / "phone.key",
    )
