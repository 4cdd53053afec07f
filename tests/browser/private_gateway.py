"""The positive control: a gateway that ends the encryption, as a telephone gateway does. `python -m tests.browser.private_gateway`.

It answers one offer from its standard input and keeps the last two seconds of what it hears as linear samples.
"""

import asyncio
import json
import sys
from collections import deque
from typing import Any

from aiortc import RTCPeerConnection, RTCSessionDescription, rtcdtlstransport

FRAMES_KEPT = 100


async def main() -> None:
    """Answer, listen, and say how much was heard whenever asked."""
    rtcdtlstransport.SRTP_PROFILES[:] = [rtcdtlstransport.SRTP_AES128_CM_SHA1_80]  # what two Chromiums choose
    connection = RTCPeerConnection()
    kept: deque[bytes] = deque(maxlen=FRAMES_KEPT)
    listening: list[asyncio.Task[None]] = []

    async def listen(track: Any) -> None:
        while True:
            kept.append((await track.recv()).to_ndarray()[0, ::2].tobytes())  # one side of the stereo that Opus gives

    connection.on("track", lambda track: listening.append(asyncio.create_task(listen(track))))
    offer = json.loads(await asyncio.to_thread(sys.stdin.readline))
    await connection.setRemoteDescription(RTCSessionDescription(offer["sdp"], "offer"))
    await connection.setLocalDescription(await connection.createAnswer())
    print(json.dumps({"sdp": connection.localDescription.sdp}), flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps({"frames": len(kept)}), flush=True)
    for task in listening:
        task.cancel()
    await connection.close()


if __name__ == "__main__":
    asyncio.run(main())
