"""A person at the running console without a browser: real HTTP, a passkey in software, the page's own token."""

from types import TracebackType
from typing import Any

import httpx

from tests.authenticator import Authenticator
from tests.conftest import Stack


class OfficerClient:
    """Enrolled by the first-run link of a role, and signed in."""

    def __init__(self, stack: Stack, role: str = "compliance_officer") -> None:
        self._client = httpx.Client(base_url=stack.console(), headers={"Origin": stack.console()}, timeout=60)
        self.key = Authenticator(origin=stack.console())
        token = stack.invites()[role]
        begun = self.post("/api/enrol/begin", token=token, kind="passkey")
        self.post("/api/enrol/finish", token=token, nonce=begun["nonce"], response=self.key.register(begun["options"]))
        begun = self.post("/api/signin/begin")
        self.post("/api/signin/finish", nonce=begun["nonce"], response=self.key.sign(begun["options"]))
        page = self._client.get("/calls").text
        self._client.headers["X-Callseal-Page"] = page.split('name="callseal-page" content="')[1].split('"')[0]

    def __enter__(self) -> "OfficerClient":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client.close()

    def post(self, path: str, /, **body: Any) -> dict[str, Any]:
        """A change; fails the test where it is refused."""
        answer = self._client.post(path, json=body)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return dict(answer.json())

    def touch(self, path: str, begun: dict[str, Any]) -> dict[str, Any]:
        """Prove what was begun, by the passkey."""
        return self.post(path, nonce=begun["nonce"], response=self.key.sign(begun["options"]))
