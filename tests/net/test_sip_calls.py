"""Calls over real TLS into the real signalling daemon, with a media worker that speaks the real protocol."""

import asyncio
import json
from pathlib import Path

import pytest

from tests import sip_rig as rig


def run(coroutine):
    return asyncio.run(coroutine)


def test_a_call_is_answered_recorded_and_ended(tmp_path: Path):
    async def story():
        async with rig.running(tmp_path) as running:
            peer = await running.connect()
            answered = await rig.place(peer)
            assert "a=recvonly" in answered.body and "a=sendonly" not in answered.body
            assert answered.values("label") == ["1", "2"]
            assert [value.split()[:2] for value in answered.values("crypto")] == [["1", "AEAD_AES_256_GCM"]] * 2
            assert "+sip.srs" in answered.get("Contact")
            (opened,) = running.media.of("media.open")
            assert [f"m=audio {port} RTP/SAVP 8 101" in answered.body for port in (20002, 20004)] == [True, True]
            assert opened["part"] == 0 and opened["peer"] == "phone" and opened["resume"] is False
            assert opened["meta"]["participants"] == [
                {"number": "+441632960001", "name": "Pat Caller", "party": "customer", "label": "1"},
                {"number": "204", "name": "Sam Staff", "party": "staff", "label": "2"},
            ]
            stream = opened["streams"][0]
            assert stream["codecs"] == [{"pt": 8, "name": "PCMA", "clock_hz": 8000, "channels": 1, "fmtp": ""}]
            assert stream["event_pts"] == [101] and stream["party"] == "customer" and stream["paused"] is False
            ended = await peer.ask(rig.request("BYE", "call-1@pbx", 2, to_tag=answered.to_tag))
            assert ended.status == 200
            event = await running.wait_event("CallEnded")
            assert event["data"] == {"reason": "bye"} and event["recording"] == opened["recording"]
            await running.wait(lambda: running.media.of("media.close"))
            started = running.events("CallStarted")[0]["data"]
            assert started["transport"].startswith("TLSv1.3 ")
            assert [leg["protection"] for leg in started["legs"]] == ["measured", "measured"]
            assert [leg["party"] for leg in started["legs"]] == ["customer", "staff"]
            assert started["legs"][0]["detail"].startswith("not observed")
            assert started["legs"][1]["detail"].startswith("claimed by the phone system")
            assert "1632960001" not in json.dumps(running.events()) and "Caller" not in json.dumps(running.events())

    run(story())
