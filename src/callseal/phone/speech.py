"""Finds something to say: WAV files, human speech from a Debian package, or a made-up voice; and says which it is.

The human speech is Debian's `asterisk-core-sounds-en-wav`: recorded by Allison Smith, Copyright 2003-2010, CC BY-SA 3.0. It is
used where it is installed, else fetched once by `apt-get download` (no root needed) into the data folder, never into the project.
Invariants: two sides of 16-bit mono speech at 8,000 samples a second; nothing is waited for longer than `FETCH_WITHIN_SECONDS`.
"""

import os
import shutil
import subprocess
import tempfile
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from callseal.errors import RequestError
from callseal.phone.codec import RATE_HZ, Samples
from callseal.phone.synthetic import make_voice

PACKAGE = "asterisk-core-sounds-en-wav"
CREDIT = "human speech: Asterisk core sounds, Allison Smith, CC BY-SA 3.0"
FETCH_WITHIN_SECONDS = 45.0
MAX_WAV_SECONDS = 3600

_INSTALLED = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
_NUMBER = tuple(f"digits/{digit}" for digit in "01632960001")
_STAFF, _CUSTOMER = 1, 0
_TURNS: tuple[tuple[int, tuple[str, ...]], ...] = (
    (_STAFF, ("hello", "queue-thankyou")),
    (_CUSTOMER, ("hello", "vm-num-i-have")),
    (_CUSTOMER, _NUMBER[:5]),
    (_STAFF, ("you-entered", *_NUMBER[:5])),
    (_CUSTOMER, _NUMBER[5:]),
    (_STAFF, ("one-moment-please", "pls-hold-while-try")),
    (_CUSTOMER, ("auth-thankyou",)),
    (_STAFF, ("im-sorry", "please-try-again")),
    (_CUSTOMER, ("goodbye",)),
    (_STAFF, ("vm-goodbye",)),
)
_PAUSE_SECONDS = 0.35
_LOWER = 0.86
"""One person recorded all the words, so the customer's are played lower and slower, to sound like somebody else."""


@dataclass(frozen=True)
class Speech:
    """What the customer says and what the staff say, of equal length, and where it comes from in words for people."""

    customer: Samples
    staff: Samples
    source: str


def read_wav(path: Path) -> list[Samples]:
    """The channels of a 16-bit PCM WAV file, each mono at 8 kHz. Raises RequestError."""
    try:
        with wave.open(str(path), "rb") as file:
            channels, width, rate, frames = file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes()
            if width != 2 or not 1 <= channels <= 2 or rate < RATE_HZ or not 0 < frames <= MAX_WAV_SECONDS * rate:
                raise RequestError(
                    f"{path.name}: expected 16-bit PCM, 1 or 2 channels, at least {RATE_HZ} Hz, at most {MAX_WAV_SECONDS} s; "
                    f"got {8 * width}-bit, {channels} channels, {rate} Hz, {frames / max(rate, 1):.1f} s"
                )
            data = np.frombuffer(file.readframes(frames), dtype="<i2").reshape(-1, channels)
    except (OSError, EOFError, wave.Error) as error:
        raise RequestError(f"{path.name}: expected a readable WAV file of 16-bit PCM ({error})") from error
    return [_to_8khz(data[:, channel], rate) for channel in range(channels)]


def read_speech(paths: Sequence[Path]) -> Speech:
    """Speech from one WAV file (mono: the customer speaks; stereo: customer left, staff right) or two (customer, staff)."""
    if not 1 <= len(paths) <= 2:
        raise RequestError(f"speech: expected one or two WAV files, got {len(paths)}")
    channels = [read_wav(path) for path in paths]
    sides = channels[0] if len(paths) == 1 else [channels[0][0], channels[1][0]]
    customer = sides[0]
    staff = sides[1] if len(sides) == 2 else np.zeros_like(customer)
    return _of_equal_length(customer, staff, "speech from " + ", ".join(path.name for path in paths))


def find_speech(cache: Path, fetch: bool = True) -> Speech:
    """A conversation in human speech, fetched into `cache` at first; a made-up voice where none can be had, and why."""
    wanted = sorted({name for _, names in _TURNS for name in names})
    folder = next((place for place in (_INSTALLED, cache) if all((place / f"{name}.wav").is_file() for name in wanted)), None)
    if folder is None:
        if not fetch:
            return synthetic_speech("")
        reason = _fetch(cache, wanted)
        if reason:
            return synthetic_speech(f" ({reason})")
        folder = cache
    words = {name: read_wav(folder / f"{name}.wav")[0] for name in wanted}
    return _converse([(side, np.concatenate([words[name] for name in names])) for side, names in _TURNS], CREDIT)


def synthetic_speech(why: str) -> Speech:
    """A conversation in a made-up voice, turn about."""
    turns = [(side, make_voice(1.2 + 0.15 * len(names), 118 if side == _CUSTOMER else 196)) for side, names in _TURNS]
    return _converse(turns, f"made-up voice, not human speech{why}")


def _converse(turns: Sequence[tuple[int, Samples]], source: str) -> Speech:
    pause = np.zeros(int(_PAUSE_SECONDS * RATE_HZ), np.int16)
    sides: tuple[list[Samples], list[Samples]] = ([pause], [pause])
    for side, said in turns:
        if side == _CUSTOMER and source == CREDIT:
            said = _stretch(said, 1 / _LOWER)
        sides[side].extend((said, pause))
        sides[1 - side].append(np.zeros(len(said) + len(pause), np.int16))
    return _of_equal_length(np.concatenate(sides[_CUSTOMER]), np.concatenate(sides[_STAFF]), source)


def _of_equal_length(customer: Samples, staff: Samples, source: str) -> Speech:
    length = max(len(customer), len(staff))
    return Speech(np.pad(customer, (0, length - len(customer))), np.pad(staff, (0, length - len(staff))), source)


def _stretch(samples: Samples, factor: float) -> Samples:
    at = np.arange(int(len(samples) * factor)) / factor
    stretched: Samples = np.interp(at, np.arange(len(samples)), samples).astype(np.int16)
    return stretched


def _to_8khz(samples: Samples, rate: int) -> Samples:
    """A windowed-sinc low-pass at 3.6 kHz, then linear interpolation; 8 kHz passes as it is."""
    if rate == RATE_HZ:
        return np.ascontiguousarray(samples, dtype=np.int16)
    taps = np.arange(-64, 65)
    kernel = np.sinc(taps * 7200 / rate) * np.hamming(len(taps))
    smooth = np.convolve(samples.astype(np.float64), kernel / kernel.sum(), mode="same")
    at = np.arange(int(len(samples) * RATE_HZ / rate)) * (rate / RATE_HZ)
    return np.asarray(np.clip(np.interp(at, np.arange(len(smooth)), smooth), -32768, 32767), np.int16)


def _fetch(cache: Path, wanted: Sequence[str]) -> str:
    """Fetch the package and keep the words that are wanted; returns why it could not, empty where it could."""
    apt, dpkg = shutil.which("apt-get"), shutil.which("dpkg-deb")
    if not apt or not dpkg:
        return "no apt-get here to fetch speech with"
    options = ["-qq", "-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=8", "-o", "Acquire::https::Timeout=8"]
    if os.geteuid() == 0:
        options += ["-o", "APT::Sandbox::User=root"]  # a temporary folder of ours is closed to apt's own user
    with tempfile.TemporaryDirectory(prefix="callseal-speech-") as name:
        folder = Path(name)
        try:
            _quietly([apt, *options, "download", PACKAGE], folder)
            packages = list(folder.glob("*.deb"))
            if not packages:
                return f"Debian's {PACKAGE} could not be fetched"
            _quietly([dpkg, "-x", str(packages[0]), "unpacked"], folder)
            sounds = folder / "unpacked" / _INSTALLED.relative_to("/")
            for word in wanted:
                _keep(sounds / f"{word}.wav", cache / f"{word}.wav")
            _keep(folder / "unpacked/usr/share/doc" / PACKAGE / "copyright", cache / "copyright")
        except subprocess.TimeoutExpired:
            return f"Debian's {PACKAGE} did not come within {FETCH_WITHIN_SECONDS:.0f} s"
        except (subprocess.CalledProcessError, OSError):
            return f"Debian's {PACKAGE} could not be fetched"
    return ""


def _quietly(command: list[str], folder: Path) -> None:
    subprocess.run(
        command, cwd=folder, check=True, timeout=FETCH_WITHIN_SECONDS, stdin=subprocess.DEVNULL, capture_output=True
    )  # fmt: skip


def _keep(source: Path, target: Path) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = target.with_suffix(f".{os.getpid()}.tmp")
    shutil.copyfile(source, partial)
    partial.replace(target)
