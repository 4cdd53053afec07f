"""Mail goes out over TLS that was verified, or not at all; a real server takes it, refuses it, or is another's."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from callseal.config.settings import Mail
from callseal.errors import ConfigError, Unavailable
from callseal.notify.mail import send_mail, write_mail
from tests.mail_server import MailServer, mail_server

NOW = datetime(2026, 11, 27, 6, 0, tzinfo=UTC)
SECRET = "right horse"


def settings(server: MailServer, folder: Path, **more: Any) -> Mail:
    values: dict[str, Any] = {
        "host": "localhost", "port": server.port, "sender": "callseal@surgery.example", "to": "a@surgery.example, b@surgery.example",
        "ca_file": str(folder / "mail-ca.pem"),
    }  # fmt: skip
    return Mail(**(values | more))


def send(mail: Mail) -> None:
    send_mail(mail, write_mail(mail, "reconciliation.2026-11-26", "2 calls, “1” sealed", "Grüße\n.\nline\n", NOW))


@pytest.mark.parametrize("security", ["starttls", "implicit"])
def test_a_mail_arrives_whole_at_every_address(tmp_path: Path, security: str) -> None:
    with mail_server(tmp_path, implicit=security == "implicit") as server:
        send(settings(server, tmp_path, security=security))
        send(settings(server, tmp_path, security=security))
    first, second = server.taken
    assert server.recipients[0] == ["a@surgery.example", "b@surgery.example"]
    assert first["Subject"] == "2 calls, “1” sealed"
    assert first.get_content().replace("\r\n", "\n") == "Grüße\n.\nline\n"
    assert first["Auto-Submitted"] == "auto-generated"
    assert first["Message-ID"] == second["Message-ID"], "what comes twice is known as one"


def test_a_server_without_starttls_gets_nothing(tmp_path: Path) -> None:
    with mail_server(tmp_path, tls=False) as server, pytest.raises(Unavailable, match="mail: SMTPNotSupportedError"):
        send(settings(server, tmp_path))
    assert server.taken == []


@pytest.mark.parametrize("security", ["starttls", "implicit"])
def test_a_certificate_that_does_not_verify_gets_nothing(tmp_path: Path, security: str) -> None:
    with mail_server(tmp_path, implicit=security == "implicit") as server, pytest.raises(Unavailable, match="does not verify"):
        send(settings(server, tmp_path, security=security, ca_file=""))
    assert server.taken == []


def test_anothers_name_in_the_certificate_gets_nothing(tmp_path: Path) -> None:
    with mail_server(tmp_path, names=("mail.other.example",)) as server, pytest.raises(Unavailable, match="does not verify"):
        send(settings(server, tmp_path))
    assert server.taken == []


def test_a_password_is_sent_after_tls_only_and_a_wrong_one_is_an_answer(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text(SECRET + "\n")
    with mail_server(tmp_path, login=True) as server:
        send(settings(server, tmp_path, user="callseal", password_file=str(secret)))
        assert server.logins == [(b"callseal", SECRET.encode())]
        secret.write_text("wrong")
        with pytest.raises(Unavailable, match=r"mail: (the server answered 535|SMTPServerDisconnected)"):
            send(settings(server, tmp_path, user="callseal", password_file=str(secret)))
        with pytest.raises(Unavailable):
            send(settings(server, tmp_path, user="callseal", password_file=str(tmp_path / "none")))
    assert len(server.taken) == 1


def test_a_refusal_is_told_by_its_status_and_without_an_address(tmp_path: Path) -> None:
    with mail_server(tmp_path, server=MailServer(refuse="451 not for a@surgery.example")) as server, pytest.raises(Unavailable) as caught:
        send(settings(server, tmp_path))
    assert str(caught.value) == "mail: the server answered 451"


def test_a_server_that_is_away_is_unavailable(tmp_path: Path) -> None:
    with mail_server(tmp_path) as server:
        gone = settings(server, tmp_path)
    with pytest.raises(Unavailable, match="mail: ConnectionRefusedError"):
        send(gone)


@pytest.mark.parametrize(
    "wrong",
    [{"security": "none"}, {"to": "somebody"}, {"sender": "x@y\nBcc: z@w"}, {"to": "a@b,"}, {"at": "25:00"}, {"at": "6"}],
)
def test_settings_that_could_not_work_are_refused_at_the_start(wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="mail"):
        Mail(**({"host": "mail.example", "sender": "a@b.example", "to": "c@d.example"} | wrong))  # type: ignore[arg-type]
