"""The positive control: a gateway that does decrypt. `python -m tests.private_gateway` answers one offer from its standard input.

It keeps the last packets as it decrypted them, as any media server does; whoever searches its memory must find the speech.
"""

import asyncio
import json
import sys
from collections import deque

from aiortc import RTCPeerConnection, RTCSessionDescription


async def main() -> None:
    pc = RTCPeerConnection()
    kept: deque[bytes] = deque(maxlen=500)

    @pc.on("track")
    def on_track(track: object) -> None:
        transport = pc.getReceivers()[0].transport
        handle = transport._handle_rtp_data

        async def keep(data: bytes, arrival_time_ms: int) -> None:
            kept.append(bytes(data))
            await handle(data, arrival_time_ms)

        transport._handle_rtp_data = keep

    offer = json.loads(await asyncio.to_thread(sys.stdin.readline))
    await pc.setRemoteDescription(RTCSessionDescription(offer["sdp"], "offer"))
    await pc.setLocalDescription(await pc.createAnswer())
    print(json.dumps({"sdp": pc.localDescription.sdp}), flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps({"kept": len(kept)}), flush=True)
    await pc.close()


if __name__ == "__main__":
    asyncio.run(main())
