"""A real SMTP server with TLS on a port of its own, which keeps what it takes."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

from tests.certificates import Authority


@dataclass
class MailServer:
    """What it took, over what."""

    port: int = 0
    taken: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    refuse: str = ""
    implicit: bool = False
    logins: list[tuple[bytes, bytes]] = field(default_factory=list)

    async def handle_DATA(self, _server: SMTP, session: Any, envelope: Any) -> str:
        assert self.implicit or session.ssl is not None, "nothing is taken in the clear"
        if self.refuse:
            return self.refuse
        self.taken.append(message_from_bytes(envelope.content, policy=policy.default))
        self.recipients.append(list(envelope.rcpt_tos))
        return "250 OK"

    def authenticate(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == b"right horse")


@contextmanager
def mail_server(folder: Path, *, implicit: bool = False, tls: bool = True, login: bool = False, names: tuple[str, ...] = ("localhost",),
                port: int = 0, server: MailServer | None = None) -> Iterator[MailServer]:  # fmt: skip
    """Serve until the block ends; its CA is `folder/mail-ca.pem`."""
    ca = folder / "mail-ca.pem"
    if not (folder / "mail.pem").exists():
        issued = Authority(folder, "mail-ca").issue("mail", names)
        assert ca.exists() and issued.key.exists()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "mail.pem", folder / "mail.key")
    handler = server or MailServer()
    handler.implicit = implicit
    starttls = {"tls_context": context, "require_starttls": True} if tls and not implicit else {}
    wanted = {"authenticator": handler.authenticate, "auth_required": True} if login else {}
    controller = Controller(handler, hostname="127.0.0.1", port=port, ssl_context=context if implicit else None, **starttls, **wanted)
    if not port:
        import socket

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            controller.port = probe.getsockname()[1]
    controller.start()
    handler.port = controller.port
    try:
        yield handler
    finally:
        controller.stop()
