"""Who may use a route. Default deny: a route that does not say so stops the console from starting.

Invariants: every route carries exactly one `Guard`; a guard only ever refuses: it grants nothing that the custodian
decides, so it may be stricter than the policy and never weaker. A change needs the page token of its own session as well.
"""

import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.requests import HTTPConnection, Request
from starlette.routing import BaseRoute

from callseal.errors import ConfigError, Denied, Unauthenticated
from callseal.model.roles import ADMINISTRATOR, AGENT, AUDITOR, COMPLIANCE_OFFICER, DPO, MANAGER
from callseal.web.headers import SAFE_METHODS
from callseal.web.sessions import Session

COOKIE: Final = "callseal_session"
PAGE_HEADER: Final = "x-callseal-page"
NO_AUDIO: Final = (
    "Your role runs the system and cannot listen. "
    "A person with a role that may listen can open this call, with a reason, on the record."
)


@dataclass(frozen=True)
class Guard:
    """A FastAPI dependency: raises Unauthenticated or Denied, or returns and leaves the session in `request.state.session`."""

    who: str
    allows: Callable[[Session], bool]
    why_not: str = "Your role does not allow this."
    needs_session: bool = True
    touches: bool = True
    """Whether the request shows that the person is there; a page that asks by itself does not."""

    async def __call__(self, request: HTTPConnection) -> None:
        """Let the request in, or raise."""
        session = session_of(request, touch=self.touches)
        request.state.session = session
        if not self.needs_session:
            return
        if session is None:
            raise Unauthenticated("Please sign in.")
        if isinstance(request, Request) and request.method not in SAFE_METHODS:
            token = request.headers.get(PAGE_HEADER, "")
            if not hmac.compare_digest(token.encode(), session.page_token.encode()):
                raise Denied("page token: expected the one of this session; reload the page")
        if not self.allows(session):
            raise Denied(self.why_not)


def _roles(*roles: str) -> Callable[[Session], bool]:
    return lambda session: session.role in roles


SIGNED: Final = Guard("a program that signs what it sends", lambda session: True, needs_session=False)
"""The route itself verifies the signature before it looks at the body."""
_READERS: Final = _roles(MANAGER, COMPLIANCE_OFFICER, DPO, AUDITOR, ADMINISTRATOR)

ANYONE: Final = Guard("anyone", lambda session: True, needs_session=False)
SIGNED_IN: Final = Guard("anyone signed in", lambda session: True)
READERS: Final = Guard("who may see that a call was", _READERS)
WATCHING: Final = Guard("who may see that a call was; not counted as present", _READERS, touches=False)
LOG_READERS: Final = Guard("who may read the log", _roles(COMPLIANCE_OFFICER, DPO, AUDITOR, ADMINISTRATOR))
PEOPLE_KEEPERS: Final = Guard("who may invite and revoke", _roles(COMPLIANCE_OFFICER, ADMINISTRATOR))
PRIVATE_CALLERS: Final = Guard("who may speak with customers", _roles(AGENT, MANAGER, COMPLIANCE_OFFICER, DPO))
EXCEPTION_KEEPERS: Final = Guard("who asks for and approves exceptions", _roles(COMPLIANCE_OFFICER, ADMINISTRATOR))
KEEPERS: Final = Guard("who holds, erases and answers for exports", _roles(COMPLIANCE_OFFICER, DPO))
LISTENERS: Final = Guard("anyone but an administrator, with an opening", lambda session: session.role != ADMINISTRATOR, NO_AUDIO)


def session_of(request: HTTPConnection, *, touch: bool = False) -> Session | None:
    """The session whose cookie this request carries, if it is live."""
    token = request.cookies.get(COOKIE)
    if not token:
        return None
    parts = request.app.state.parts
    found: Session | None = parts.sessions.find(token, parts.clock(), touch=touch)
    return found


def signed_in(request: Request) -> Session:
    """The session of a request that a guard has let in."""
    session = request.state.session
    if not isinstance(session, Session):
        raise Unauthenticated("Please sign in.")
    return session


def guard_of(route: BaseRoute) -> Guard:
    """The one guard of a route. Raises ConfigError where it has none, or more than one."""
    dependencies = route.dependencies if isinstance(route, APIRoute | APIWebSocketRoute) else ()
    guards = [item.dependency for item in dependencies if isinstance(item.dependency, Guard)]
    if len(guards) != 1:
        raise ConfigError(f"route {getattr(route, 'path', route)}: expected exactly one guard, got {len(guards)}")
    return guards[0]


def check_routes(routes: Iterable[BaseRoute]) -> None:
    """Raises ConfigError unless every route says who may use it."""
    for route in routes:
        guard_of(route)
