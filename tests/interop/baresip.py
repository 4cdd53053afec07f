"""Debian's baresip as a phone that calls in over TLS with SRTP it insists on, and knows nothing of SIPREC.

Driven without a head: a configuration folder of its own, `-e "/dial …"`, a WAV file as its microphone. It hangs up by itself when the
WAV file ends.
"""

import asyncio
import shutil
import wave
from pathlib import Path

from callseal.phone.codec import Samples

PROGRAM = shutil.which("baresip")
MODULES = Path("/usr/lib/baresip/modules")
WHY_SKIPPED = "baresip is not installed (apt-get install baresip-core)"


class Baresip:
    """One baresip with a certificate (or none) and something to say."""

    def __init__(self, folder: Path, ca: Path, certificate: Path | None, key: Path | None, media: str = "srtp-mand") -> None:
        folder.mkdir()
        self.folder, self.media = folder, media
        settings = [
            "poll_method epoll", "sip_listen 127.0.0.1:0", f"sip_cafile {ca}", "call_max_calls 1",
            f"audio_player aufile,{folder}/heard.wav", f"audio_source aufile,{folder}/spoken.wav",
            f"audio_alert aufile,{folder}/alert.wav", "rtcp_mux no", f"module_path {MODULES}",
            *(f"module {name}.so" for name in ("g711", "srtp", "aufile", "account", "menu")),
        ]  # fmt: skip
        if certificate is not None and key is not None:
            pair = folder / "pair.pem"
            pair.touch(mode=0o600)
            pair.write_bytes(certificate.read_bytes() + key.read_bytes())
            settings.append(f"sip_certificate {pair}")
        (folder / "config").write_text("".join(f"{line}\n" for line in settings))
        (folder / "contacts").write_text("")

    def speak(self, samples: Samples) -> None:
        """What it says, once, before it hangs up."""
        with wave.open(str(self.folder / "spoken.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(samples.astype("<i2").tobytes())

    async def call(self, host: str, port: int, codec: str, seconds: int) -> str:
        """Place a call and return all that baresip said, once it has hung up or `seconds` have passed."""
        encryption = f";mediaenc={self.media}" if self.media else ""
        account = f"<sip:baresip@{host}:{port};transport=tls>;regint=0{encryption};audio_codecs={codec}\n"
        (self.folder / "accounts").write_text(account)
        assert PROGRAM is not None
        process = await asyncio.create_subprocess_exec(
            PROGRAM, "-f", str(self.folder), "-t", str(seconds), "-e", f"/dial sip:callseal@{host}:{port}",
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        asking = asyncio.create_task(process.communicate())
        try:
            await asyncio.wait({asking}, timeout=seconds + 2)
        finally:
            if process.returncode is None:
                process.kill()  # refused in TLS, it tries again for ever
        output, _ = await asking
        return output.decode(errors="replace")
