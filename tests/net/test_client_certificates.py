"""Whose certificate counts, and whose does not: expired, not yet valid, another's name, another's authority, taken out, renewed."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from callseal.config.peers import Peer, write_peer
from callseal.net.authority import days_left, fingerprint_of, issue_client, issue_server
from tests import sip_rig as rig
from tests.certificates import Authority

NOW = datetime.now(UTC)


def run(folder: Path, story: Callable[[rig.Rig], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with rig.running(folder) as running:
            await story(running)

    asyncio.run(whole())


def context(running: rig.Rig, certificate: Path, key: Path) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(running.config.data / "tls" / "ca.pem"))
    made.load_cert_chain(certificate, key)
    return made


async def is_admitted(running: rig.Rig, made: ssl.SSLContext) -> bool:
    with suppress(ssl.SSLError, ConnectionError, asyncio.IncompleteReadError):
        peer = await running.connect(context=made)
        return (await peer.ask(rig.request("OPTIONS", "o"))).status == 200
    return False


async def why(running: rig.Rig) -> str:
    return str((await running.wait_event("PeerRefused"))["data"]["why"])


def add(running: rig.Rig, peer: Peer) -> None:
    (running.config.data / "peers" / f"{peer.name}.toml").write_text(write_peer(peer))


@pytest.mark.parametrize(("issued", "words"), [(NOW - timedelta(days=500), "expired certificate"), (NOW + timedelta(days=2), "certificate not yet valid")])
def test_a_certificate_outside_its_days_is_refused_though_its_fingerprint_is_known(tmp_path: Path, issued, words):
    async def story(running: rig.Rig):
        tls = running.config.data / "tls"
        add(running, Peer("sbc", frozenset({issue_client(tls, "sbc", issued)})))
        assert not await is_admitted(running, context(running, tls / "sbc.pem", tls / "sbc.key"))
        assert await why(running) == words

    run(tmp_path, story)


def test_a_server_certificate_of_ours_is_no_phone_systems(tmp_path: Path):
    async def story(running: rig.Rig):
        tls = running.config.data / "tls"
        add(running, Peer("sbc", frozenset({fingerprint_of(tls / "server.pem")})))
        assert not await is_admitted(running, context(running, tls / "server.pem", tls / "server.key"))

    run(tmp_path, story)


def test_a_name_counts_only_from_the_authority_of_that_very_peer(tmp_path: Path):
    async def story(running: rig.Rig):
        peers = running.config.data / "peers"
        theirs, others = Authority(tmp_path, "theirs"), Authority(tmp_path, "others")
        for name, authority in (("sbc", theirs), ("other", others)):
            (peers / f"{name}.ca.pem").write_bytes(authority.file.read_bytes())
            add(running, Peer(name, certificate_names=frozenset({f"{name}.example"})))
        good = theirs.issue("sbc-good", ("SBC.example", "x.example"))
        assert await is_admitted(running, context(running, good.certificate, good.key))
        for issued in (
            theirs.issue("wrong", ("pbx.example",)), theirs.issue("sbc.example", ("other.example",)), others.issue("across", ("sbc.example",)),
            theirs.issue("nameless", ()), theirs.issue("sbc.example", ()), theirs.issue("near", ("sbc.example.evil", "xsbc.example", "127.0.0.1")),
        ):  # fmt: skip
            assert not await is_admitted(running, context(running, issued.certificate, issued.key)), issued.certificate.name
        assert {event["data"]["why"] for event in running.events("PeerRefused")} == {"unknown certificate"}

    run(tmp_path, story)


def test_a_name_in_a_certificate_of_ours_counts_where_no_other_authority_is_given(tmp_path: Path):
    async def story(running: rig.Rig):
        tls = running.config.data / "tls"
        issue_client(tls, "fleet.example", NOW)
        assert not await is_admitted(running, context(running, tls / "fleet.example.pem", tls / "fleet.example.key"))
        add(running, Peer("fleet", certificate_names=frozenset({"fleet.example"})))
        assert await is_admitted(running, context(running, tls / "fleet.example.pem", tls / "fleet.example.key"))

    run(tmp_path, story)


def test_a_pinned_certificate_vouches_for_nobody_else(tmp_path: Path):
    """Its key could sign; what it signs is not believed."""

    async def story(running: rig.Rig):
        authority = Authority(tmp_path, "rogue")
        pinned = authority.issue("rogue-leaf")
        peers = running.config.data / "peers"
        (peers / "sbc.pem").write_bytes(authority.file.read_bytes())
        add(running, Peer("sbc", frozenset({fingerprint_of(authority.file)})))
        assert not await is_admitted(running, context(running, pinned.certificate, pinned.key))
        assert await why(running) == "unknown certificate"

    run(tmp_path, story)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_an_old_version_of_tls_is_refused(tmp_path: Path, version):
    async def story(running: rig.Rig):
        made = running.client_context("phone")
        made.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning):
            made.minimum_version = made.maximum_version = version
        assert not await is_admitted(running, made)
        assert await why(running) in ("TLS version too old", "handshake not finished", "no cipher in common")

    run(tmp_path, story)


def test_weak_ciphers_are_not_agreed_on(tmp_path: Path):
    async def story(running: rig.Rig):
        for ciphers in ("AES128-SHA", "ECDHE-RSA-AES128-SHA:ECDHE-ECDSA-AES128-SHA", "AES256-GCM-SHA384", "NULL:@SECLEVEL=0"):
            made = running.client_context("phone")
            made.maximum_version = ssl.TLSVersion.TLSv1_2
            made.set_ciphers(ciphers)
            assert not await is_admitted(running, made), ciphers
        strong = running.client_context("phone")
        strong.maximum_version = ssl.TLSVersion.TLSv1_2
        assert await is_admitted(running, strong)

    run(tmp_path, story)


def test_sip_without_tls_gets_not_a_word_of_sip(tmp_path: Path):
    async def story(running: rig.Rig):
        reader, writer = await asyncio.open_connection(*running.daemon.server.address)
        writer.write(rig.request("OPTIONS", "plain").encode())
        said = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        assert b"SIP" not in said and len(said) < 16
        assert await why(running) == "not TLS"

    run(tmp_path, story)


def test_a_live_call_outlasts_new_certificates_on_both_sides(tmp_path: Path):
    """Ours and theirs are renewed in mid-call: the old connection goes on, a new one meets the new certificate, BYE ends the call."""

    async def story(running: rig.Rig):
        tls = running.config.data / "tls"
        peer = await running.connect()
        answered = await rig.place(peer)
        before = peer.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        issue_server(tls, "localhost", datetime.now(UTC))
        old = fingerprint_of(tls / "phone.pem")
        add(running, Peer("phone", frozenset({old, issue_client(tls, "phone", datetime.now(UTC))})))
        await running.wait(running.daemon.server.refresh, 3)
        again = await running.connect()
        after = again.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        assert after != before and after == x509.load_pem_x509_certificate((tls / "server.pem").read_bytes()).public_bytes(serialization.Encoding.DER)
        assert (await peer.ask(rig.request("INVITE", "call-1@pbx", 2, rig.sdp(), answered.to_tag))).status == 200
        add(running, Peer("phone", frozenset({fingerprint_of(tls / "phone.pem")})))
        await running.wait(lambda: [event for event in running.events("PeerRefused") if "no longer" in event["data"]["why"]])
        assert (await again.ask(rig.request("BYE", "call-1@pbx", 3, to_tag=answered.to_tag))).status == 200
        assert (await running.wait_event("CallEnded"))["data"] == {"reason": "bye"}

    run(tmp_path, story)


def test_a_removed_peer_is_disconnected_at_once_and_not_let_in_again(tmp_path: Path):
    async def story(running: rig.Rig):
        running.add_peer("sbc")
        peer = await running.connect("sbc")
        assert (await peer.ask(rig.request("OPTIONS", "o"))).status == 200
        (running.config.data / "peers" / "sbc.toml").unlink()
        with suppress(ConnectionError, ssl.SSLError):
            assert await asyncio.wait_for(peer.reader.read(), 5) == b""
        assert not await is_admitted(running, running.client_context("sbc"))

    run(tmp_path, story)


def test_an_address_that_is_refused_too_often_is_not_shaken_hands_with_until_it_has_rested(tmp_path: Path):
    async def story(running: rig.Rig):
        server = running.daemon.server
        for _ in range(30):
            server.refuse("127.0.0.1", "no certificate")
        assert not await is_admitted(running, running.client_context("phone"))
        assert running.events("PeerRefused")[-1]["data"]["why"] == "refused too often"
        server._refusals = type(server._refusals)(0.5, 30)
        kept = await running.connect()
        for _ in range(30):
            server.refuse("127.0.0.1", "no certificate")
        assert await is_admitted(running, running.client_context("phone")), "a known phone system behind the same address gets in"
        await kept.close()

    run(tmp_path, story)


def test_a_certificate_that_ends_within_thirty_days_is_told_of_once_a_day(tmp_path: Path):
    async def story(running: rig.Rig):
        tls, peers = running.config.data / "tls", running.config.data / "peers"
        add(running, Peer("sbc", frozenset({issue_client(tls, "sbc", datetime.now(UTC) - timedelta(days=380))})))
        event = await running.wait_event("CertificateExpiring")
        assert event["data"] == {"peer": "sbc", "count": 16}
        add(running, Peer("sbc", frozenset({fingerprint_of(tls / "sbc.pem")}), "sales"))
        await running.wait(lambda: running.daemon._book.find("sbc").recording_class == "sales")
        assert len(running.events("CertificateExpiring")) == 1
        assert days_left(tls, peers, datetime.now(UTC)) == {"sbc": 16}

    run(tmp_path, story)
