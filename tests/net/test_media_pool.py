"""Several media workers: each new recording goes to the least loaded one that stands, stays there, and is found again."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callseal.errors import LimitExceeded, NotAcceptable, Unavailable
from callseal.net import media_client, media_pool
from callseal.net.media_pool import Placement
from callseal.net.udp_batch import Share, open_pair
from callseal.store.memory_log import MemoryLog, make_memory_files
from tests import sip_rig as rig


def run(story: Awaitable[None]) -> None:
    asyncio.run(asyncio.wait_for(story, 30))  # type: ignore[arg-type]


def with_workers(folder: Path, count: int, story: Callable[[rig.Rig], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with rig.running(folder, workers=count) as running:
            await story(running)

    run(whole())


def opening(recording: str, streams: int = 2) -> tuple[str, dict[str, Any]]:
    return recording, {"recording": recording, "streams": [{}] * streams}


async def call(peer: rig.PeerConnection, number: int, labels: tuple[str, ...] = ("1", "2")) -> rig.Answered:
    return await rig.place(peer, f"call-{number}@pbx", rig.multipart(rig.sdp(labels=labels)))


def test_the_fewest_streams_win_and_the_first_of_equals() -> None:
    placement = Placement()
    assert placement.choose([]) is None
    assert placement.choose([1, 0]) == 0
    placement.put("a", 0, 4)
    placement.put("b", 1, 2)
    assert placement.choose([0, 1]) == 1
    placement.put("b", 1, 6)
    assert (placement.choose([0, 1]), placement.streams[1]) == (0, 6)
    placement.remove("b")
    placement.remove("never there")
    assert (placement.choose([0, 1]), placement.worker_of("b"), placement.worker_of("a")) == (1, None, 0)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 8))), st.integers(1, 5))
def test_streams_are_counted_as_they_stand_and_never_differ_by_more_than_the_largest_call(
    steps: list[tuple[int, int]], workers: int
) -> None:
    placement, live = Placement(), dict[str, tuple[int, int]]()
    for number, streams in steps:
        name = str(number)
        if streams == 0:
            placement.remove(name)
            live.pop(name, None)
        else:
            worker = placement.worker_of(name)
            worker = placement.choose(range(workers)) if worker is None else worker
            assert worker is not None
            placement.put(name, worker, streams)
            live[name] = worker, streams
        loads = Counter(dict.fromkeys(range(workers), 0))
        for worker, count in live.values():
            loads[worker] += count
        assert {worker: placement.streams[worker] for worker in range(workers)} == dict(loads)
    only_growing = Placement()
    for number, (_name, streams) in enumerate(steps):
        chosen = only_growing.choose(range(workers))
        assert chosen is not None
        only_growing.put(str(number), chosen, streams)
    loaded = [only_growing.streams[worker] for worker in range(workers)]
    assert max(loaded) - min(loaded) <= max((streams for _name, streams in steps), default=0)


def test_calls_are_spread_by_streams_and_their_orders_stay_where_they_are(tmp_path: Path) -> None:
    async def story(running: rig.Rig) -> None:
        peer = await running.connect()
        tags = [(await call(peer, number)).to_tag for number in range(6)]
        assert [len(worker.recordings) for worker in running.workers] == [2, 2, 2]
        for number, tag in enumerate(tags[:3]):
            assert (await peer.ask(rig.request("BYE", f"call-{number}@pbx", 2, to_tag=tag))).status == 200
        await running.wait(lambda: all(len(worker.recordings) == 1 for worker in running.workers))
        await call(peer, 7, ("1", "2", "3", "4"))
        await call(peer, 8)
        await call(peer, 9)
        assert [len(worker.recordings) for worker in running.workers] == [2, 2, 2]
        for worker in running.workers:
            opened = {order["recording"] for order in worker.of("media.open")}
            assert {order["recording"] for order in worker.orders if "recording" in order} == opened

    with_workers(tmp_path, 3, story)


def test_a_burst_of_calls_is_spread_before_any_of_them_is_answered(tmp_path: Path) -> None:
    async def story(running: rig.Rig) -> None:
        for worker in running.workers:
            worker.held.clear()
        opened = [asyncio.ensure_future(running.daemon.media.open(*opening(f"{number:032x}"))) for number in range(10)]
        await asyncio.sleep(0)
        for worker in running.workers:
            worker.held.set()
        assert Counter([(await one)[0] for one in opened]) == {0: 5, 1: 5}

    with_workers(tmp_path, 2, story)


@pytest.mark.parametrize("full", [LimitExceeded("streams: none"), Unavailable("ports: none")])
def test_a_worker_without_room_is_passed_over_and_a_call_is_refused_when_all_are(
    tmp_path: Path, full: LimitExceeded | Unavailable
) -> None:
    async def story(running: rig.Rig) -> None:
        peer = await running.connect()
        running.media.full = full
        await call(peer, 1)
        await call(peer, 2)
        assert [len(worker.recordings) for worker in running.workers] == [0, 2]
        running.workers[1].full = full
        refused = await peer.ask(rig.request("INVITE", "call-3@pbx", body=rig.multipart(rig.sdp())))
        assert (refused.status, refused.get("Retry-After")) == (503, "5")
        assert not [order for worker in running.workers for order in worker.of("media.close")], "closed where it never was"
        running.media.full = None
        await call(peer, 4)
        assert [len(worker.recordings) for worker in running.workers] == [1, 2]

    with_workers(tmp_path, 2, story)


def test_what_one_worker_will_not_have_for_itself_no_other_is_asked(tmp_path: Path) -> None:
    async def story(running: rig.Rig) -> None:
        running.media.full = NotAcceptable("stream: expected its protection")
        with pytest.raises(NotAcceptable):
            await running.daemon.media.open(*opening("ab" * 16))
        assert not running.workers[1].of("media.open")

    with_workers(tmp_path, 2, story)


def test_a_worker_that_is_away_gets_no_new_call_and_its_own_again_when_it_is_back(tmp_path: Path) -> None:
    async def story(running: rig.Rig) -> None:
        peer = await running.connect()
        for number in range(4):
            await call(peer, number)
        first, second = running.workers
        mine, others = set(first.recordings), set(second.recordings)
        await first.stop()
        await running.wait(lambda: not running.daemon.media.is_connected)
        for number in range(4, 7):
            await call(peer, number)
        before = len(second.orders)
        await first.start()
        await running.wait(lambda: set(first.recordings) == mine)
        await running.wait(lambda: running.daemon.media.is_connected)
        again = first.of("media.open")[2:]
        assert [(order["part"], order["resume"]) for order in again] == [(1, True)] * 2
        assert [order["type"] for order in second.orders[before:]] == [] and others < set(second.recordings)
        await call(peer, 9)
        assert len(first.recordings) == 3, "back again, it is the least loaded"

    with_workers(tmp_path, 2, story)


def test_new_calls_avoid_a_worker_that_has_owed_a_reply_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(running: rig.Rig) -> None:
        hung, other = running.workers
        hung.held.clear()
        waiting = asyncio.ensure_future(running.daemon.media.open(*opening("00" * 16)))
        await asyncio.sleep(0)
        assert [(await running.daemon.media.open(*opening(f"{number:032x}")))[0] for number in (1, 2, 3)] == [1, 1, 1]
        hung.held.set()
        assert (await waiting)[0] == 0
        assert (await running.daemon.media.open(*opening("ff" * 16)))[0] == 0, "it answers: the least loaded again"
        assert (len(hung.recordings), len(other.recordings)) == (2, 3)

    monkeypatch.setattr(media_client, "LATE_SECONDS", 0.0)
    with_workers(tmp_path, 2, story)


@pytest.mark.parametrize("count", [1, 2])
def test_with_every_worker_away_a_call_waits_for_the_first_that_is_back(tmp_path: Path, count: int) -> None:
    async def story(running: rig.Rig) -> None:
        peer = await running.connect()
        await call(peer, 1)
        for worker in running.workers:
            await worker.stop()
        await peer.send(rig.request("INVITE", "call-2@pbx", body=rig.multipart(rig.sdp())))
        back = running.workers[-1]
        await back.start()
        assert (await peer.read()).status == 200
        opened = back.of("media.open")
        assert [order["resume"] for order in opened[-2:]] == ([False, True, False] if count == 1 else [False])[-2:]

    with_workers(tmp_path, count, story)


def test_with_every_worker_away_for_long_a_call_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_pool, "RETURN_SECONDS", 0.3)

    async def story(running: rig.Rig) -> None:
        peer = await running.connect()
        for worker in running.workers:
            await worker.stop()
        for number in (1, 2):
            refused = await peer.ask(rig.request("INVITE", f"call-{number}@pbx", body=rig.multipart(rig.sdp())))
            assert (refused.status, refused.get("Retry-After")) == (503, "5")
        began = asyncio.get_running_loop().time()
        with pytest.raises(Unavailable, match="no worker is connected"):
            await running.daemon.media.open(*opening("ab" * 16))
        assert asyncio.get_running_loop().time() - began < 0.2

    with_workers(tmp_path, 2, story)


@pytest.mark.parametrize("count", [1, 2])
def test_a_call_whose_worker_died_as_it_opened_is_opened_again_once_that_is_certain(tmp_path: Path, count: int) -> None:
    async def story(running: rig.Rig) -> None:
        running.media.breaks = [False]
        await call(await running.connect(), 1)
        assert sum(len(worker.of("media.open")) for worker in running.workers) == 2
        assert sum(len(worker.recordings) for worker in running.workers) == 1
        assert running.media.of("media.status"), "asked whether it knows of it"

    with_workers(tmp_path, count, story)


def test_a_call_that_began_on_a_worker_whose_line_broke_is_refused_and_closed_there(tmp_path: Path) -> None:
    async def story(running: rig.Rig) -> None:
        running.media.breaks = [True]
        refused = await (await running.connect()).ask(rig.request("INVITE", "call-1@pbx", body=rig.multipart(rig.sdp())))
        assert refused.status == 503
        await running.wait(lambda: running.media.of("media.close"))
        assert not running.workers[1].orders and not running.media.recordings

    with_workers(tmp_path, 2, story)


def test_what_ends_two_workers_is_not_given_to_a_third(tmp_path: Path) -> None:
    async def story(running: rig.Rig) -> None:
        for worker in running.workers:
            worker.breaks = [False] * 3
        with pytest.raises(Unavailable):
            await running.daemon.media.open(*opening("ab" * 16))
        assert sum(len(worker.of("media.open")) for worker in running.workers) == 2

    with_workers(tmp_path, 3, story)


def test_a_call_whose_worker_does_not_answer_is_never_on_two_and_the_next_go_elsewhere(tmp_path: Path) -> None:
    async def story(running: rig.Rig) -> None:
        peer = await running.connect()
        hung, other = running.workers
        hung.held.clear()
        refused = await peer.ask(rig.request("INVITE", "call-0@pbx", body=rig.multipart(rig.sdp())))
        assert refused.status == 503, "it may have begun there: nobody else is asked"
        for number in range(1, 4):
            await call(peer, number)
        assert len(other.recordings) == 3 and not hung.recordings
        hung.held.set()
        await running.wait(lambda: hung.of("media.close"))
        recording = hung.of("media.open")[0]["recording"]
        assert [order["recording"] for order in hung.of("media.close")] == [recording]
        assert not hung.recordings
        await running.wait(lambda: running.daemon.media.worker_of(recording) is None)
        await call(peer, 5)
        assert len(hung.recordings) == 1, "it answers again, and is the least loaded"

    with_workers(tmp_path, 2, story)


def test_what_a_worker_that_is_back_will_not_begin_is_asked_again_until_it_does(tmp_path: Path) -> None:
    async def story(running: rig.Rig) -> None:
        peer = await running.connect()
        answered = [await call(peer, number) for number in range(4)]
        first, second = running.workers
        mine = set(first.recordings)
        await first.stop()
        first.full = Unavailable("ports: expected a free pair")
        await first.start()
        await running.wait(lambda: len(first.of("media.open")) >= 4)
        assert (await peer.ask(rig.request("BYE", "call-0@pbx", 2, to_tag=answered[0].to_tag))).status == 200
        first.full = None
        await running.wait(lambda: first.recordings)
        assert set(first.recordings) == mine - {first.of("media.open")[0]["recording"]}, "the call that is over stays over"
        assert {(order["part"], order["resume"]) for order in first.of("media.open")[2:]} == {(1, True)}
        assert len(second.of("media.open")) == 2

    with_workers(tmp_path, 2, story)


def test_of_a_worker_that_is_away_it_is_not_known_whether_packets_still_come(tmp_path: Path) -> None:
    async def story(running: rig.Rig) -> None:
        peer = await running.connect()
        await call(peer, 1)
        await call(peer, 2)
        away, stands = running.workers
        (told,) = stands.recordings
        await away.stop()
        await peer.close()
        (lost,) = await running.wait(lambda: running.events("SignallingLost"), 15)
        assert lost["recording"] == told

    with_workers(tmp_path, 2, story)


def test_a_successor_of_signalling_finds_each_call_on_its_own_worker(tmp_path: Path) -> None:
    memory = make_memory_files("sip")

    async def story() -> None:
        async with rig.running(tmp_path, memory=MemoryLog(memory), workers=2) as running:
            peer = await running.connect()
            answers = [await call(peer, number) for number in range(4)]
            first, second = running.workers
            mine, others = set(first.recordings), set(second.recordings)
            assert len(mine) == len(others) == 2
        async with rig.running(tmp_path, memory=MemoryLog(memory), workers=2) as running:
            await running.wait(lambda: all(len(worker.of("media.open")) == 2 for worker in running.workers))
            assert [set(worker.recordings) for worker in running.workers] == [mine, others]
            peer = await running.connect()
            await call(peer, 8)
            assert len(running.media.recordings) == 3, "what was taken up counts as load"
            for number, answered in enumerate(answers):
                bye = await peer.ask(rig.request("BYE", f"call-{number}@pbx", 2, to_tag=answered.to_tag))
                assert bye.status == 200
            await running.wait(lambda: [len(worker.of("media.close")) for worker in running.workers] == [2, 2])

    run(story())


def test_fewer_workers_than_before_leave_the_calls_of_the_others_up(tmp_path: Path) -> None:
    memory = make_memory_files("sip")

    async def story() -> None:
        async with rig.running(tmp_path, memory=MemoryLog(memory), workers=2) as running:
            peer = await running.connect()
            answers = [await call(peer, number) for number in range(2)]
        async with rig.running(tmp_path, memory=MemoryLog(memory), workers=1) as running:
            peer = await running.connect()
            for number, answered in enumerate(answers):
                refresh = rig.request("INVITE", f"call-{number}@pbx", 2, to_tag=answered.to_tag)
                assert (await peer.ask(refresh)).status == 200
            assert len(running.media.of("media.open")) == 1, "its own: the other's ports are not its to take"

    run(story())


def test_workers_never_choose_each_others_ports() -> None:
    first, second = Share(0, 2), Share(1, 2)
    pairs = [open_pair("127.0.0.1", share=share) for share in (first, second) for _ in range(20)]
    try:
        ports = [pair.port // 2 % 2 for pair in pairs]
        assert ports == [0] * 20 + [1] * 20
        room = range(pairs[0].port, pairs[0].port + 41, 2)
        chosen = open_pair("127.0.0.1", ports=room, share=second)
        pairs.append(chosen)
        assert chosen.port // 2 % 2 == 1
        pairs[0].close()
        again = open_pair("127.0.0.1", port=room[0], share=second)
        pairs.append(again)
        assert again.port == room[0], "a port that is asked for by its number is taken"
    finally:
        for pair in pairs:
            pair.close()
