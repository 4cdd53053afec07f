"""Default deny: a route that does not say who may use it does not start."""

import pytest
from fastapi import APIRouter, Depends
from starlette.routing import Mount, Route

from callseal.errors import ConfigError
from callseal.web.guards import ANYONE, SIGNED_IN, check_routes, guard_of


async def answer() -> dict[str, str]:
    return {}


def route_with(*dependencies: object) -> APIRouter:
    router = APIRouter()
    router.get("/x", dependencies=[Depends(item) for item in dependencies])(answer)  # type: ignore[arg-type]
    return router


def test_a_route_with_one_guard_is_let_through() -> None:
    routes = route_with(SIGNED_IN).routes
    check_routes(routes)
    assert guard_of(routes[0]) is SIGNED_IN


def test_a_route_without_a_guard_stops_the_start() -> None:
    with pytest.raises(ConfigError, match="/x"):
        check_routes(route_with().routes)


def test_a_route_with_another_dependency_only_stops_the_start() -> None:
    with pytest.raises(ConfigError):
        check_routes(route_with(answer).routes)


def test_a_route_with_two_guards_stops_the_start() -> None:
    with pytest.raises(ConfigError):
        check_routes(route_with(ANYONE, SIGNED_IN).routes)


@pytest.mark.parametrize("route", [Route("/plain", lambda request: None), Mount("/files", lambda scope: None)])  # type: ignore[arg-type, return-value]
def test_a_route_that_is_not_the_frameworks_own_kind_stops_the_start(route: Route | Mount) -> None:
    with pytest.raises(ConfigError):
        check_routes([route])


def test_a_socket_without_a_guard_stops_the_start_too() -> None:
    router = APIRouter()
    router.websocket("/line")(answer)
    with pytest.raises(ConfigError, match="/line"):
        check_routes(router.routes)
