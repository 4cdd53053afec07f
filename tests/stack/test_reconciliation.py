"""The phone system's own records beside what was sealed, on the running line: by file, by signed webhook, on the page, by mail."""

import base64
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from callseal.authn.webhook import read_secret, sign_webhook
from callseal.store.calls import list_alerts
from tests.conftest import Stack
from tests.files import contents
from tests.mail_server import MailServer, mail_server
from tests.stack.test_recording_assurance import read, wait_for

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]
SECRET = "whsec_" + base64.b64encode(os.urandom(32)).decode()
NUMBER = "+442079460958"


class Line:
    """A running installation whose mail server is away at first, with three sealed calls."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack, self.folder = stack, folder
        self.began = datetime.now(UTC)
        done = stack.cli(["call", "--synthetic", "--seconds", "2", "--count", "3", "--number", NUMBER, "--json"])
        assert done.returncode == 0, done.stderr
        self.call_ids = [call["call_id"] for call in json.loads(done.stdout)["calls"]]

    def tell(self) -> None:
        """Import a file twice; send webhooks; read the figures; let the mail server come back."""
        rows = [self.record(call_id) for call_id in self.call_ids]
        rows += [self.record("never-offered@pbx", "206"), self.record("inside@pbx", "900")]
        self.first, (_code, self.again) = self.reconcile(rows), self.reconcile(rows)
        missing, found = ({"type": "call.ended", "data": self.record(one)} for one in ("told-by-webhook@pbx", self.call_ids[0]))
        sent_at = time.monotonic()
        self.hooked = [self.post(missing, message="msg_1"), self.post(missing, message="msg_1"), self.post(found)]
        self.stack.wait_event("CallNotSealed", after=1)
        self.told_after = time.monotonic() - sent_at
        self.told = self.stack.events("CallNotSealed")
        wait_for(lambda: "callseal_records_unsealed 2.0" in self.metrics(), self.stack)
        self.figures = self.metrics()
        self.mailed = MailServer()
        with mail_server(self.folder, port=self.stack.config.mail.port, server=self.mailed):
            wait_for(lambda: bool(self.mailed.taken), self.stack, 75)

    def metrics(self) -> str:
        with urllib.request.urlopen(f"{self.stack.console()}/metrics") as answer:
            return str(answer.read().decode())

    def record(self, call_id: str, to: str = "205") -> dict[str, str]:
        return {"call_id": call_id, "from": NUMBER, "to": to, "started_at": self.began.isoformat(), "duration_seconds": "2"}

    def reconcile(self, rows: list[dict[str, str]]) -> tuple[int, dict[str, Any]]:
        file = self.folder / "calls.csv"
        file.write_text("\n".join([",".join(rows[0]), *(",".join(row.values()) for row in rows)]) + "\n")
        done = self.stack.cli(["reconcile", str(file), "--peer", "phone", "--json"])
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def post(self, body: dict[str, Any], peer: str = "phone", secret: str = SECRET, message: str = "", at: datetime | None = None) -> tuple[int, Any]:
        data = json.dumps(body).encode()
        signed = sign_webhook(read_secret(secret), message or f"msg_{os.urandom(8).hex()}", at or datetime.now(UTC), data)
        request = urllib.request.Request(f"{self.stack.console()}/hooks/records/{peer}", data, {"Content-Type": "application/json", **signed})
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())


@pytest.fixture(scope="module")
def line() -> Iterator[Line]:
    with TemporaryDirectory(prefix="cs-", dir="/tmp") as name:
        folder = Path(name)
        with mail_server(folder) as once:
            port = once.port  # its certificate is made and its port known; it is away from here on
        mail = f'[mail]\nhost = "localhost"\nport = {port}\nsender = "callseal@surgery.example"\nto = "dpo@surgery.example"\n'
        stack = Stack(folder, f'{mail}ca_file = "{folder / "mail-ca.pem"}"\nat = "00:00"\n')
        (stack.data / "records").mkdir(parents=True)
        (stack.data / "records" / "phone.toml").write_text(
            f'webhook_secrets = ["{SECRET}"]\n[[not_recorded]]\nclass = "internal"\ncolumn = "to"\nmatches = "^9"\n'
        )
        stack.start()
        try:
            line = Line(stack, folder)
            line.tell()
            yield line
        finally:
            stack.stop()


def test_every_call_by_their_records_is_found_or_told_of_and_a_second_import_changes_nothing(line: Line) -> None:
    code, said = line.first
    (day,), (missing,) = said["days"], said["unsealed"]
    assert (code, said["taken"]["new"]) == (1, 5)
    assert (day["records"], day["sealed"], day["gaps"], day["exempt"], day["waiting"]) == (5, 3, 1, 1, 0)
    assert missing["why"] == "unknown"
    assert line.told[0]["data"] == {"peer": "phone", "why": "unknown", "record": missing["record"]}
    wait_for(lambda: "not_sealed" in {alert.kind for alert in read(line.stack, list_alerts)}, line.stack)
    assert (line.again["taken"]["new"], line.again["taken"]["known"], line.again["days"]) == (0, 5, said["days"])


def test_a_signed_webhook_is_taken_once_and_a_missing_call_told_of_within_seconds(line: Line) -> None:
    assert line.hooked == [(202, {"taken": 1, "again": False}), (202, {"taken": 0, "again": True}), (202, {"taken": 1, "again": False})]
    assert line.told_after < 15
    assert len(line.told) == 2
    assert "callseal_records_unsealed 2.0" in line.figures
    assert "callseal_mail_waiting 1.0" in line.figures


def test_a_stranger_a_forger_and_a_replayer_get_one_answer(line: Line) -> None:
    body, other = {"data": line.record("forged@pbx")}, "whsec_" + base64.b64encode(os.urandom(32)).decode()
    answers = [
        line.post(body, secret=other),
        line.post(body, peer="nobody"),
        line.post(body, peer="..%2Ftls%2Fserver"),
        line.post(body, at=datetime.now(UTC) - timedelta(minutes=6)),
    ]
    assert [status for status, _answer in answers[:2] + answers[3:]] == [401] * 3
    assert len({json.dumps(answer) for status, answer in answers if status == 401}) == 1
    assert answers[2][0] in (401, 404)
    assert line.post({"data": "x" * 100_000})[0] == 413
    assert line.post({"data": 4})[0] == 400


def test_the_pages_are_for_who_is_signed_in(line: Line) -> None:
    for path in ("/reconciliation", "/api/reconciliation"):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(line.stack.console() + path)


def test_the_days_account_waited_for_the_mail_server_and_then_went_out_over_tls(line: Line) -> None:
    (mail,) = line.mailed.taken
    yesterday = (line.began - timedelta(days=1)).date()
    assert mail["Subject"] == f"Callseal, {yesterday.day} {yesterday:%B %Y}: 0 calls by their records, 0 sealed, 0 gaps"
    assert "No records came for this day" in mail.get_content()
    assert line.mailed.recipients == [["dpo@surgery.example"]]


def test_no_number_and_no_identifier_of_a_record_lies_anywhere_in_the_data_folder(line: Line) -> None:
    for path, content in contents(line.stack.data):
        for secret in (b"2079460958", b"never-offered", b"told-by-webhook", line.call_ids[0].encode()):
            assert secret not in content, path.relative_to(line.stack.data)
    assert line.stack.cli(["verify"]).returncode == 0
