"""How the installation is: for people, for a load balancer (`/healthz`) and for Prometheus (`/metrics`).

Invariants: figures only, no ids of people and no numbers; `/metrics` answers this machine or an administrator; what cannot be
read is shown as such and never as well. Database and custodian are waited for `PATIENCE_SECONDS`, and without them what the
workers say of themselves is shown all the same (`console.recorders`).
"""

import asyncio
import ipaddress
import json
import shutil
from typing import Any, NamedTuple

from fastapi import APIRouter, Depends
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from callseal.config.settings import Config
from callseal.console.parts import Parts, parts_of
from callseal.console.recorders import RecorderMetrics, show_recorders
from callseal.console.words import show_call
from callseal.errors import CallsealError, Denied, RequestError, Unavailable
from callseal.flows.metrics import COUNTED, GAUGES, read_figures
from callseal.model.call import Alert, CallState
from callseal.model.clock import format_time
from callseal.model.roles import ADMINISTRATOR
from callseal.store.accounts import read_accounts
from callseal.store.calls import list_alerts, list_calls
from callseal.store.ledger import acknowledge_alert
from callseal.web.guards import ANYONE, READERS, WATCHING, session_of, signed_in

DISK_LOW_BYTES = 2 << 30
SPOOL_OLD_SECONDS = 3600
WATCHER_QUIET_SECONDS = 60
QUIET = "watcher_quiet_seconds"
PATIENCE_SECONDS = 3.0

router = APIRouter()


@router.get("/health", dependencies=[Depends(READERS)], include_in_schema=False)
async def show_health(request: Request) -> HTMLResponse:
    """The page."""
    return parts_of(request).pages.show(request, "health.html")


@router.get("/api/health", dependencies=[Depends(WATCHING)], tags=["health"])
async def send_health(request: Request) -> dict[str, Any]:
    """Alerts, figures, processes and live calls. A part that is away is named as away."""
    parts = parts_of(request)
    held = await _ask_database(parts)
    return {
        "alerts": [_show_alert(alert) for alert in held.alerts] if held else [],
        "figures": await _figures(parts, held),
        "processes": read_processes(parts),
        "live": held.live if held else [],
        "recorders": show_recorders(read_accounts(parts.config.run), held.live if held else [], parts.now()),
        "database": held is not None,
    }


@router.post("/api/alerts/{alert}/acknowledge", dependencies=[Depends(READERS)], tags=["health"])
def acknowledge(request: Request, alert: int) -> dict[str, bool]:
    """Note that this person has seen an alert. Raises NotFound."""
    parts = parts_of(request)
    if not 0 < alert < 1 << 31:
        raise RequestError("alert: expected its number")
    with parts.database.write() as connection:
        acknowledge_alert(connection, alert, signed_in(request).person, parts.now())
    return {"acknowledged": True}


@router.get("/healthz", dependencies=[Depends(ANYONE)], tags=["health"])
async def send_healthz(request: Request) -> JSONResponse:
    """200 when the database and the custodian answer, otherwise 503; no more is told to a stranger."""
    parts = parts_of(request)
    ready = True
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.to_thread(parts.database.check_schema)
            ready = bool((await parts.keyring.ask("status")).get("ready"))
    except (CallsealError, TimeoutError):
        ready = False
    return JSONResponse({"ready": ready}, 200 if ready else 503)


@router.get("/metrics", dependencies=[Depends(ANYONE)], include_in_schema=False)
async def send_metrics(request: Request) -> Response:
    """Prometheus text, for this machine itself or an administrator. Raises Denied for anybody else."""
    session = session_of(request)
    if not _is_local(request) and (session is None or session.role != ADMINISTRATOR):
        raise Denied("metrics: for this machine itself, or for an administrator who is signed in")
    parts = parts_of(request)
    registry = CollectorRegistry()
    held = await _ask_database(parts)
    if held is not None:
        _add_counted(registry, held.counted)
    registry.register(RecorderMetrics(read_accounts(parts.config.run), parts.now()))
    for name, words, value in (
        ("callseal_database_up", "1 where the database answers; else what stands in it is left out", held is not None),
        ("callseal_draining", "1 while no new calls are taken", bool(draining_since(parts.config))),
        ("callseal_web_sessions", "People signed in", len(parts.sessions)),
        ("callseal_web_openings", "Recordings open at this moment", len(parts.openings)),
        ("callseal_disk_free_bytes", "Free space where the data lies", shutil.disk_usage(parts.config.data).free),
    ):
        Gauge(name, words, registry=registry).set(value)
    ready = Gauge("callseal_process_ready", "Whether a process is ready", ["process"], registry=registry)
    restarts = Gauge("callseal_process_restarts", "Restarts of a process", ["process"], registry=registry)
    for process in read_processes(parts):
        ready.labels(process["name"]).set(process["state"] == "ready")
        restarts.labels(process["name"]).set(process["restarts"])
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def _add_counted(registry: CollectorRegistry, counted: dict[str, int]) -> None:
    calls = Gauge("callseal_calls", "Calls by state", ["state"], registry=registry)
    for state in CallState:
        calls.labels(state.value).set(counted[f"calls_{state.value}"])
    for name, words in (COUNTED | GAUGES | {QUIET: "Since the watcher last wrote its figures"}).items():
        if name in counted:
            Gauge(f"callseal_{name}", words, registry=registry).set(counted[name])


def read_processes(parts: Parts) -> list[dict[str, Any]]:
    """The supervisor's children, as it last wrote them; none where each runs under systemd."""
    try:
        state = json.loads((parts.config.run / "supervisor.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [
        {
            "name": name,
            "state": "ready" if child["ready"] else "starting" if child["pid"] else "down",
            "since": child["started_at"],
            "restarts": child["restarts"],
        }
        for name, child in state.items()
    ]


async def _figures(parts: Parts, held: "_Held | None") -> list[dict[str, str]]:
    free = shutil.disk_usage(parts.config.data).free
    away = _figure("Database", "away: calls are still recorded and sealed", bad=True)
    return [
        *_draining_figure(parts),
        *(_counted_figures(held.counted) if held else [away]),
        _figure("Free disk space", f"{free / (1 << 30):.1f} GiB", bad=free < DISK_LOW_BYTES),
        *await _custodian_figures(parts),
    ]


def _counted_figures(counted: dict[str, int]) -> list[dict[str, str]]:
    sealed, cut_short = counted["calls_sealed"] + counted["calls_interrupted"], counted["calls_interrupted"]
    age, quiet = counted.get("spool_age_seconds", 0), counted.get(QUIET)
    figures = [
        _figure("Calls going on", str(counted["calls_live"])),
        _figure("Waiting to be sealed", str(counted["calls_ended"])),
        _figure("Sealed", f"{sealed}, of which cut short: {cut_short}"),
        _figure("Held", str(counted["calls_held"])),
        _figure("Past their day and not deleted", str(counted["destructions_overdue"]), bad=counted["destructions_overdue"] > 0),
        _figure("Refused today", str(counted["offers_refused_today"])),
        _figure("Oldest part waiting in the spool", f"{age} s" if age else "none waits", bad=age > SPOOL_OLD_SECONDS),
        _figure("Events not yet in the log", str(counted.get("events_behind", "not said"))),
    ]
    if quiet is None or quiet > WATCHER_QUIET_SECONDS:
        figures.append(_figure("Watcher", "not heard of" if quiet is None else f"not heard of for {quiet} s", bad=True))
    return figures


async def _custodian_figures(parts: Parts) -> list[dict[str, str]]:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            status = await parts.keyring.ask("status")
    except (CallsealError, TimeoutError):
        return [_figure("Custodian", "away: recording goes on, nothing can be opened or destroyed", bad=True)]
    return [
        _figure("Custodian", "ready" if status.get("ready") else "not ready", bad=not status.get("ready")),
        _figure("Keys are kept in", str(status.get("cell_driver", "not said"))),
        _figure("Log entries", str(status.get("log_size", "not said"))),
    ]


def _draining_figure(parts: Parts) -> list[dict[str, str]]:
    since = draining_since(parts.config)
    return [_figure("Draining", f"no new calls are taken since {since}; live ones finish", bad=True)] if since else []


def draining_since(config: Config) -> str:
    """Since when the recorder takes no new calls; empty while it does."""
    try:
        return str(json.loads(config.draining_file.read_text(encoding="utf-8"))["since"])
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, KeyError):
        return "an unknown time"


def _figure(name: str, value: str, *, bad: bool = False) -> dict[str, str]:
    return {"name": name, "value": value, "tone": "bad" if bad else "plain"}


def _show_alert(alert: Alert) -> dict[str, Any]:
    return {
        "id": alert.id,
        "last_at": format_time(alert.last_at),
        "count": alert.times,
        "severity": alert.severity.value,
        "text": alert.text,
    }


class _Held(NamedTuple):
    """What stands in the database."""

    counted: dict[str, int]
    alerts: list[Alert]
    live: list[dict[str, Any]]


async def _ask_database(parts: Parts) -> _Held | None:
    """None where it is away, or slower than a page waits."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await asyncio.to_thread(_read, parts)
    except (Unavailable, TimeoutError):
        return None


def _read(parts: Parts) -> _Held:
    with parts.database.read() as connection:
        live = list_calls(connection, limit=200, state=CallState.LIVE)
        return _Held(read_figures(connection, parts.now()), list_alerts(connection), [show_call(call) for call in live])


def _is_local(request: Request) -> bool:
    """Asked on this machine and not through a proxy, which would make everybody local."""
    if request.client is None or any(name in request.headers for name in ("forwarded", "x-forwarded-for", "via")):
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False
