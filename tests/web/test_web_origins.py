"""Which hosts and origins are ours, and where passkeys work."""

import pytest

from callseal.errors import Denied, RequestError
from callseal.web.origins import Origins

LOCAL = Origins("http://localhost:8080", "localhost")
NAMED = Origins("https://calls.example.org", "calls.example.org")


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "192.0.2.7", "localhost"])
def test_localhost_and_addresses_in_digits_are_ours(host: str) -> None:
    LOCAL.check_host(host)


@pytest.mark.parametrize(
    "host", ["rebound.example:8080", "", "localhost.evil.example", "127.0.0.1.evil.example", "[::1", "a@localhost:x"]
)
def test_a_name_that_somebody_else_could_point_here_is_refused(host: str) -> None:
    with pytest.raises(RequestError):
        LOCAL.check_host(host)


def test_the_configured_name_is_ours_and_another_is_not() -> None:
    NAMED.check_host("calls.example.org")
    with pytest.raises(RequestError):
        NAMED.check_host("other.example.org")


@pytest.mark.parametrize(
    "origin",
    [None, "null", "", "http://localhost:8081", "https://localhost:8080", "http://evil.example", "http://127.0.0.1:8080"],
)
def test_a_change_from_another_origin_is_denied(origin: str | None) -> None:
    with pytest.raises(Denied):
        LOCAL.check_origin(origin, "localhost:8080")


def test_a_change_from_our_own_page_is_let_in() -> None:
    LOCAL.check_origin("http://localhost:8080", "localhost:8080")
    LOCAL.check_origin("http://192.0.2.7:8080", "192.0.2.7:8080")
    NAMED.check_origin("https://calls.example.org", "calls.example.org")


@pytest.mark.parametrize(
    ("origins", "host", "works"),
    [
        (LOCAL, "localhost:8080", True),
        (LOCAL, "127.0.0.1:8080", False),
        (LOCAL, "192.0.2.7:8080", False),
        (NAMED, "calls.example.org", True),
        (NAMED, "localhost:8080", False),
        (Origins("http://calls.example.org", "calls.example.org"), "calls.example.org", False),
        (Origins("https://a.calls.example.org", "calls.example.org"), "a.calls.example.org", True),
        (Origins("https://evilcalls.example.org", "calls.example.org"), "evilcalls.example.org", False),
    ],
)
def test_passkeys_work_where_the_browser_lets_them(origins: Origins, host: str, works: bool) -> None:
    assert origins.allows_passkeys(host) is works
