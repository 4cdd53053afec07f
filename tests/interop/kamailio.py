"""The real Kamailio with the configuration of deploy/kamailio, in a folder and on a port of its own."""

import hashlib
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.certificates import Authority
from tests.conftest import ROOT, Stack

SHIPPED = ROOT / "deploy" / "kamailio"


@contextmanager
def kamailio(folder: Path, recorders: Sequence[Stack], peers: Stack) -> Iterator[int]:
    """Kamailio in front of these recorders, for phone systems of `peers`' authority; yields its port."""
    own = Authority(folder, "proxy-ca")
    for name in ("server", "proxy"):
        own.issue(name)
    shutil.copy(peers.data / "tls" / "ca.pem", folder / "peers-ca.pem")
    (folder / "recorders-ca.pem").write_bytes(b"".join((one.data / "tls" / "ca.pem").read_bytes() for one in recorders))
    (folder / "tls.cfg").write_text((SHIPPED / "tls.cfg").read_text().replace("/etc/kamailio/callseal", str(folder)))
    lines = [f"1 sip:{one.address('sip')};transport=tls\n" for one in recorders]
    (folder / "dispatcher.list").write_text("".join(lines))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    text = (SHIPPED / "kamailio.cfg").read_text()
    text = text.replace("tls:192.0.2.10:5061", f"tls:127.0.0.1:{port}").replace("/etc/kamailio/callseal", str(folder))
    (folder / "kamailio.cfg").write_text(text)
    (folder / "run").mkdir()
    with (folder / "kamailio.log").open("wb") as log:
        process = subprocess.Popen(
            ["kamailio", "-DD", "-E", "-m", "64", "-M", "8", "-f", str(folder / "kamailio.cfg"), "-Y", str(folder / "run"), "-w", str(folder)],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield port
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def know_proxy(folder: Path, recorder: Stack, behind: Sequence[str]) -> None:
    """Write the proxy's certificate and file into a recorder's peers, as the operator does."""
    pem = (folder / "proxy.pem").read_text()
    (recorder.data / "peers" / "kamailio.pem").write_text(pem)
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
    names = ", ".join(f'"{name}"' for name in behind)
    text = f'type = "kamailio"\ncertificate_sha256 = "{digest}"\nbehind = [{names}]\n'
    temporary = recorder.data / "peers" / "kamailio.new"
    temporary.write_text(text)
    temporary.rename(recorder.data / "peers" / "kamailio.toml")


def said(folder: Path) -> str:
    """What Kamailio logged, without its debugging."""
    return re.sub(r"\n.* DEBUG: .*", "", (folder / "kamailio.log").read_text(errors="replace"))[-6000:]
