"""Every failure of a part, made for real on a running line, and what it cost: one row each (`tests.stack.story`).

Each line has a disk of its own, ext4 on an image, which is frozen, filled and thawed with everything that lies on it: spool, events,
database, log. The object store's hours and the clock that they take are simulated in `tests/flows/test_capture.py`.
"""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

from tests.stack.outages import KILLS, OUTAGES, two_lines
from tests.stack.story import Story, Told

LONG = "database away"
TIMEOUT_SECONDS = 900


def run(seconds: int, long_seconds: int, seed: int) -> dict[str, Any]:
    """Each outage for `seconds`, the database's for `long_seconds`, each process killed once; the rows."""
    del seed  # nothing is chosen here
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        long, rest = pool.submit(_tell_long, long_seconds), pool.submit(_tell_rest, seconds)
        rows = [*rest.result(), *long.result()]
    return {"failures": len(rows), "rows": rows}


def _tell_rest(seconds: int) -> list[dict[str, Any]]:
    rows = []
    for failure in KILLS:
        with _line() as story:
            rows.append(_print(story.tell_kill(failure, TIMEOUT_SECONDS)))
    with _line() as story:
        rows += [_print(story.tell_outage(failure, seconds, TIMEOUT_SECONDS)) for failure in OUTAGES if failure != LONG]
    return rows


def _tell_long(seconds: int) -> list[dict[str, Any]]:
    with _line() as story:
        return [_print(story.tell_outage(LONG, seconds, TIMEOUT_SECONDS))]


def _print(told: Told) -> dict[str, Any]:
    row = told.row()
    print(row, flush=True)
    return row


@contextmanager
def _line() -> Iterator[Story]:
    with two_lines(768) as (stack, well):
        yield Story(stack, well)
