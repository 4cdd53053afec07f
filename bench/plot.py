"""Cost against calls as one SVG, drawn by hand: two logarithmic axes, a line a way, the figure that is asked for."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 900, 420, 70, 330, 50, 60
COLOURS = ("#0b6e4f", "#2563eb", "#6b7280", "#b45309", "#b91c1c", "#7c3aed")
SUITE = "AES_CM_128_HMAC_SHA1_80"
ASKED = 4.0
"""µs a packet."""
TICKS = (1, 2, 4, 8, 16, 32, 64)


def cost_of(run: Mapping[str, float]) -> float:
    """µs of CPU for each packet that was taken, of one raw run."""
    return run["cpu"] / max(1, run["packets"]) * 1e6


def median_cost(runs: Iterable[Mapping[str, float]]) -> float:
    """The same of several runs of one way."""
    return statistics.median(map(cost_of, runs))


def draw(measured: Sequence[dict[str, Any]]) -> str:
    """The picture of one `bench.packets` run's raw results: µs a packet for each way, medians with every run as a dot."""
    rows = [row for row in measured if row["suite"] == SUITE]
    calls = sorted({row["calls"] for row in rows})
    if len(calls) < 2:
        calls = [calls[0], 2 * calls[0]]
    parts = [*_frame(calls)]
    for colour, way in zip(COLOURS, dict.fromkeys(row["way"] for row in rows), strict=False):
        parts += _line(colour, way, [row for row in rows if row["way"] == way], calls)
    parts += _legend(list(dict.fromkeys(row["way"] for row in rows)))
    title = "CPU of the receiving process for each packet, by calls at once (two G.711 streams a call)"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-family="system-ui, sans-serif" '
        f'font-size="13"><title>{title}</title><rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
        f'<text x="{LEFT}" y="24" font-size="15">{title}</text>{"".join(parts)}</svg>\n'
    )


def _x(calls: float, all_calls: Sequence[int]) -> float:
    share = math.log(calls / all_calls[0]) / math.log(all_calls[-1] / all_calls[0])
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _y(cost: float) -> float:
    share = math.log(max(cost, TICKS[0]) / TICKS[0]) / math.log(TICKS[-1] / TICKS[0])
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _frame(calls: Sequence[int]) -> Iterable[str]:
    end = WIDTH - RIGHT
    for tick in TICKS:
        yield f'<path d="M{LEFT} {_y(tick):.1f}H{end}" stroke="#e5e7eb"/>'
        yield f'<text x="{LEFT - 10}" y="{_y(tick) + 4:.1f}" text-anchor="end">{tick} µs</text>'
    for count in calls:
        yield f'<text x="{_x(count, calls):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{count}</text>'
    yield f'<text x="{(LEFT + end) / 2}" y="{HEIGHT - 16}" text-anchor="middle">calls at once</text>'
    yield f'<path d="M{LEFT} {_y(ASKED):.1f}H{end}" stroke="#111827" stroke-dasharray="5 4"/>'
    yield f'<text x="{end + 20}" y="{_y(ASKED) + 4:.1f}">asked: {ASKED:g} µs at 1,000 calls</text>'


def _line(colour: str, way: str, rows: Sequence[dict[str, Any]], calls: Sequence[int]) -> Iterable[str]:
    runs = {row["calls"]: row["runs"] for row in rows}
    points = [(_x(count, calls), _y(median_cost(found))) for count, found in sorted(runs.items())]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    yield f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"><title>{escape(way)}</title></path>'
    for count, found in runs.items():
        yield from (f'<circle cx="{_x(count, calls):.1f}" cy="{_y(cost_of(one)):.1f}" r="3" fill="{colour}"/>' for one in found)


def _legend(names: Sequence[str]) -> Iterable[str]:
    for place, (colour, name) in enumerate(zip(COLOURS, names, strict=False)):
        y = TOP + 20 + 24 * place
        yield f'<path d="M{WIDTH - RIGHT + 20} {y}h24" stroke="{colour}" stroke-width="3"/>'
        yield f'<text x="{WIDTH - RIGHT + 52}" y="{y + 4}">{escape(name)}</text>'
