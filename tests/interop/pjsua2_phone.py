"""PJSIP as a phone: one call over TLS with SRTP that it insists on (or none), a WAV file as its microphone. Run as a program.

It prints one JSON line: the states that the call went through, its last status, and what its SRTP transport negotiated.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import pjsua2 as pj


class Phone(pj.Call):  # type: ignore[misc]
    """The call: plays its file as soon as media is up, and remembers what happened."""

    def __init__(self, account: pj.Account, wav: Path) -> None:
        super().__init__(account)
        self.wav = wav
        self.states: list[str] = []
        self.status = 0
        self.srtp = ""
        self.player = pj.AudioMediaPlayer()

    def onCallState(self, _event: pj.OnCallStateParam) -> None:
        info = self.getInfo()
        self.states.append(info.stateText)
        self.status = info.lastStatusCode

    def speak(self) -> None:
        """Play the file into the call. PJSIP takes a recorder's `recvonly` for a hold, and sends all the same."""
        self.player.createPlayer(str(self.wav), pj.PJMEDIA_FILE_NO_LOOP)
        self.player.startTransmit(self.getAudioMedia(-1))
        self.srtp = next((line.strip() for line in self.dump(True, " ").splitlines() if "SRTP status" in line), "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uri", required=True)
    for name in ("ca", "cert", "key", "wav", "log"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--codec", default="PCMA/8000/1")
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--clear", action="store_true")
    arguments = parser.parse_args()
    endpoint = pj.Endpoint()
    endpoint.libCreate()
    settings = pj.EpConfig()
    settings.logConfig.level, settings.logConfig.consoleLevel, settings.logConfig.filename = 5, 0, str(arguments.log)
    settings.uaConfig.threadCnt = 0
    settings.medConfig.clockRate = settings.medConfig.sndClockRate = 8000
    settings.medConfig.noVad, settings.medConfig.ecTailLen, settings.medConfig.sndAutoCloseTime = True, 0, -1
    endpoint.libInit(settings)
    endpoint.audDevManager().setNullDev()
    transport = pj.TransportConfig()
    transport.boundAddress = "127.0.0.1"
    tls = transport.tlsConfig
    tls.CaListFile, tls.certFile, tls.privKeyFile = str(arguments.ca), str(arguments.cert), str(arguments.key)
    tls.verifyServer = True
    tls.proto = pj.PJ_SSL_SOCK_PROTO_TLS1_2
    endpoint.transportCreate(pj.PJSIP_TRANSPORT_TLS, transport)
    endpoint.libStart()
    for codec in endpoint.codecEnum2():
        endpoint.codecSetPriority(codec.codecId, 255 if codec.codecId == arguments.codec else 0)
    account, config = pj.Account(), pj.AccountConfig()
    config.idUri = f"sips:pjsip@{arguments.uri.partition('@')[2].partition(';')[0]}"
    config.mediaConfig.srtpUse = pj.PJMEDIA_SRTP_DISABLED if arguments.clear else pj.PJMEDIA_SRTP_MANDATORY
    config.mediaConfig.srtpSecureSignaling = 0 if arguments.clear else 1
    config.mediaConfig.transportConfig.boundAddress = "127.0.0.1"
    account.create(config)
    call = Phone(account, arguments.wav)
    call.makeCall(arguments.uri, pj.CallOpParam(True))
    end = time.monotonic() + 15
    hang_up = 0.0
    while time.monotonic() < end and "DISCONNECTED" not in call.states:
        endpoint.libHandleEvents(20)
        if "CONFIRMED" in call.states and not hang_up:
            hang_up = time.monotonic() + arguments.seconds
            call.speak()
        if hang_up and time.monotonic() > hang_up:
            hang_up = end
            call.hangup(pj.CallOpParam(True))
    print(json.dumps({"states": call.states, "status": call.status, "srtp": call.srtp}), flush=True)
    del call, account
    endpoint.libDestroy()


if __name__ == "__main__":
    main()
    sys.exit(0)
