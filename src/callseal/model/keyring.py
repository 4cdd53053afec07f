"""What flows know of the custodian's client; a daemon hands in the real one (`keyring.client.Keyring`)."""

from typing import Any, Protocol

from callseal.model.message import Message


class Asks(Protocol):
    """One question, one answer."""

    async def ask(self, message_type: str, **fields: Any) -> Message:
        """Send one request and return its reply. Raises the refusal, or Unavailable."""
