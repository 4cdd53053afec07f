"""One mail out, over TLS whose certificate was verified, or not at all. Blocking: call it on a thread.

RFC 5321, RFC 3207 (STARTTLS), RFC 8314 (implicit TLS). Invariants: nothing, not even a name, is sent before TLS stands; a server
without STARTTLS is refused; an error holds the server's status and no address.
"""

import smtplib
import ssl
from datetime import datetime
from email import policy
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Final

from callseal.config.settings import Mail
from callseal.errors import ConfigError, Unavailable

TIMEOUT_SECONDS: Final = 20.0
LINES: Final = policy.SMTP.clone(max_line_length=200)
"""A subject of our length on one line (RFC 5322 section 2.1.1 allows 998)."""
IMPLICIT: Final = "implicit"
STARTTLS: Final = "starttls"


def write_mail(mail: Mail, name: str, subject: str, body: str, made_at: datetime) -> EmailMessage:
    """The message; the same `name` gives the same Message-ID, so that one that is sent twice is known as one."""
    message = EmailMessage(LINES)
    message["From"], message["To"], message["Subject"] = mail.sender, mail.to, subject
    message["Date"] = format_datetime(made_at)
    message["Message-ID"] = f"<{name}@{mail.sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(body)
    return message


def send_mail(mail: Mail, message: EmailMessage) -> None:
    """Hand a message to the server. Raises Unavailable where it is away, unproven or unwilling: try again later."""
    context = make_context(mail)
    try:
        with _connect(mail, context) as server:
            if mail.user:
                server.login(mail.user, Path(mail.password_file).read_text(encoding="utf-8").strip())
            server.send_message(message)
    except ssl.SSLCertVerificationError as error:
        raise Unavailable(f"mail: its certificate does not verify ({error.verify_message})") from error
    except smtplib.SMTPResponseException as error:
        raise Unavailable(f"mail: the server answered {error.smtp_code}") from error
    except (smtplib.SMTPException, OSError, ValueError) as error:
        raise Unavailable(f"mail: {type(error).__name__}") from error


def make_context(mail: Mail) -> ssl.SSLContext:
    """TLS 1.2 or later that verifies the server. Raises ConfigError for a CA file that cannot be read."""
    try:
        context = ssl.create_default_context(cafile=mail.ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError("mail.ca_file: expected PEM certificates") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _connect(mail: Mail, context: ssl.SSLContext) -> smtplib.SMTP:
    if mail.security == IMPLICIT:
        return smtplib.SMTP_SSL(mail.host, mail.port, timeout=TIMEOUT_SECONDS, context=context)
    server = smtplib.SMTP(mail.host, mail.port, timeout=TIMEOUT_SECONDS)
    try:
        server.starttls(context=context)  # raises where the server does not offer it
    except BaseException:
        server.close()
        raise
    return server
