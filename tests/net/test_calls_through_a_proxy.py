"""A proxy may say whose calls it passes on: for the peers in its file, by one header; from anybody else that header says nothing."""

import asyncio
from pathlib import Path

import pytest

from callseal.config.peers import Peer, read_peer, write_peer
from callseal.errors import ConfigError
from tests import sip_rig as rig

NAMED = "X-Callseal-Peer: {}\r\n"


def add_proxy(running: rig.Rig, *behind: str) -> None:
    running.add_peer("proxy")
    path = running.config.data / "peers" / "proxy.toml"
    path.write_text(path.read_text() + f"behind = {list(behind)}\n".replace("'", '"'))


def invite(call_id: str, headers: str) -> str:
    return rig.request("INVITE", call_id, body=rig.multipart(rig.sdp()), headers=headers)


def test_a_proxys_call_is_that_of_the_peer_it_names_to_the_end(tmp_path: Path) -> None:
    async def story() -> None:
        async with rig.running(tmp_path) as running:
            running.add_peer("office")
            add_proxy(running, "office", "phone")
            proxy, office = await running.connect("proxy"), await running.connect("office")
            assert (await proxy.ask(rig.request("OPTIONS", "o@proxy"))).status == 200, "its own probe"
            live = await proxy.ask(invite("c1@pbx", NAMED.format("office")))
            assert (live.status, running.media.of("media.open")[0]["peer"]) == (200, "office")
            other = rig.request("BYE", "c1@pbx", 2, to_tag=live.to_tag, headers=NAMED.format("phone"))
            assert (await proxy.ask(other)).status == 481, "another peer behind the same proxy"
            assert (await office.ask(rig.request("BYE", "c1@pbx", 3, to_tag=live.to_tag))).status == 200, "its own, by its own connection"

    asyncio.run(story())


@pytest.mark.parametrize("headers", [NAMED.format("stranger"), NAMED.format("proxy"), NAMED.format("phone"), NAMED.format("office") * 2])
def test_a_name_that_it_may_not_speak_for_ends_its_connection_with_an_event(tmp_path: Path, headers: str) -> None:
    async def story() -> None:
        async with rig.running(tmp_path) as running:
            running.add_peer("office")
            add_proxy(running, "office")
            proxy = await running.connect("proxy")
            await proxy.send(invite("c1@pbx", headers))
            refused = await running.wait_event("PeerRefused")
            assert refused["data"]["why"] == "a proxy named a phone system that it may not speak for"
            assert not running.media.of("media.open")

    asyncio.run(story())


def test_a_proxys_call_without_a_name_is_refused(tmp_path: Path) -> None:
    async def story() -> None:
        async with rig.running(tmp_path) as running:
            running.add_peer("office")
            add_proxy(running, "office")
            proxy = await running.connect("proxy")
            assert (await proxy.ask(invite("c1@pbx", ""))).status == 403
            assert not running.media.of("media.open")

    asyncio.run(story())


def test_from_a_phone_system_the_header_says_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with rig.running(tmp_path) as running:
            running.add_peer("office")
            peer = await running.connect("phone")
            assert (await peer.ask(invite("c1@pbx", NAMED.format("office")))).status == 200
            assert running.media.of("media.open")[0]["peer"] == "phone"

    asyncio.run(story())


@pytest.mark.parametrize("behind", ['["p"]', '["../x"]', '[""]', "3", "[3]"])
def test_a_proxys_file_names_other_peers(tmp_path: Path, behind: str) -> None:
    path = tmp_path / "p.toml"
    path.write_text(f'certificate_sha256 = "{"a" * 64}"\nbehind = {behind}\n')
    with pytest.raises(ConfigError, match="behind"):
        read_peer(path)


def test_a_proxys_file_reads_back_as_it_was_written(tmp_path: Path) -> None:
    peer = Peer("p", frozenset({"a" * 64}), behind=frozenset({"office", "branch"}))
    (tmp_path / "p.toml").write_text(write_peer(peer))
    assert read_peer(tmp_path / "p.toml") == peer
