"""A recorder cannot open what it sealed: a dump of its memory, every window tried as a key, opens nothing but what comes next."""

import ctypes
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from callseal.vault.expand import scrub_freed
from tests.memory_search import Region, find_keys, known_windows, read_memory
from tests.stopped import stopped
from tests.vault import second_reader
from tests.vault.sealed_rig import keys

SEALED = 11
CHILD = """
import sys
from datetime import UTC, datetime
from callseal.vault.card import SealingCard
from callseal.vault.forward import ForwardTree
from callseal.vault.message import Kind
from callseal.vault.seal import PartSealer
import callseal.vault.expand as expand
import callseal.vault.seal as seal

print("ready", flush=True)
fault, public = sys.argv[1], bytes.fromhex(sys.stdin.readline())
kept = []
def keep(original, at, held):
    def faulty(self, out):
        number = original(self, out)
        if number == at:
            kept.append(bytes(out) if held is None else bytes(self._node(held)))
        return number
    return faulty
if fault == "no scrubbing":
    seal.scrub_freed = expand.scrub_freed = lambda: None
if fault == "kept":
    ForwardTree.next_leaf = keep(ForwardTree.next_leaf, 5, None)
    ForwardTree.next_leaf = keep(ForwardTree.next_leaf, 3, 30)
    draw = seal.draw
    seal.draw = lambda out: (draw(out), kept.append(bytes(out)))
sealer = PartSealer(bytes(16), 0, SealingCard(7, public, datetime(2030, 1, 1, tzinfo=UTC), 0))
print(sealer.header.hex(), flush=True)
for second in sys.stdin:
    print(sealer.seal(Kind.MEDIA, b"what was said " * 1500).hex(), flush=True)
"""


class Recorder:
    """A process of its own that seals a second when it is told to."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        assert process.stdin is not None and process.stdout is not None
        self._input, self._output = process.stdin, process.stdout
        assert self._output.readline() == "ready\n"
        self.known = known_windows(self.dump())
        self.header = self._tell(keys(7)[1].hex())
        self.messages: dict[int, bytes] = {}

    def seal(self) -> None:
        self.messages[len(self.messages)] = self._tell("second")

    def dump(self) -> list[Region]:
        try:
            with stopped(self.process.pid) as pid:
                return read_memory(pid)
        except PermissionError:
            pytest.skip("the kernel does not let a parent read its child's memory here (yama)")

    def _tell(self, line: str) -> bytes:
        self._input.write(line + "\n")
        self._input.flush()
        return bytes.fromhex(self._output.readline())


@contextmanager
def recorder(fault: str, seconds: int = SEALED) -> Iterator[Recorder]:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, fault], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1"),
    ) as process:  # fmt: skip
        running = Recorder(process)
        for _ in range(seconds):
            running.seal()
        yield running
        assert process.stdin is not None
        process.stdin.close()


def test_memory_in_mid_call_opens_nothing_that_was_sealed_and_only_what_comes_next() -> None:
    with recorder("none") as running:
        memory = running.dump()
        running.seal()
    found = find_keys(memory, running.header, running.messages, running.known)
    assert [one for one in found if one.number < SEALED] == []
    assert {one.number for one in found} == {SEALED}, "the search is blind: the next second's key is held, and was not found"


def test_keys_that_were_left_behind_are_found() -> None:
    """The control: a leaf, a node and the DEK, each copied once."""
    with recorder("kept") as running:
        memory = running.dump()
    found = {(one.number, one.height) for one in find_keys(memory, running.header, running.messages, running.known)}
    assert {(5, 0), (4, 2), (0, 32)} <= found


def test_no_secret_of_what_was_sealed_lies_anywhere_at_any_alignment() -> None:
    """DEK, nodes, leaves, message keys and the courier's own secrets, looked for as they are."""
    with recorder("none") as running:
        memory = running.dump()
    secrets = _secrets_of(running.header, running.messages)
    assert len(secrets) > 5 * SEALED
    left = {name for name, secret in secrets.items() for region in memory if secret in region.content}
    assert left == set()
    future = second_reader.ex(secrets["node 31/5"], "tree", 64)[32:]
    assert any(future in region.content for region in memory), "the search is blind: the next leaf is held, and was not found"


def test_before_the_first_message_the_dek_lies_in_the_tree_alone() -> None:
    with recorder("none", seconds=0) as running:
        memory = running.dump()
    secrets = _secrets_of(running.header, {})
    copies = {name: sum(region.content.count(secret) for region in memory) for name, secret in secrets.items()}
    assert copies == {name: int(name == "dek") for name in secrets}


def _secrets_of(header: bytes, messages: dict[int, bytes]) -> dict[str, bytes]:
    """Everything that would open a sealed message, by name: from the private key that only this test has."""
    digest, dek = second_reader.open_header(header, keys(7)[0])
    secrets = {"dek": dek, **_courier_secrets(header, keys(7)[0])}
    for number, message in messages.items():
        key = dek
        for depth in range(32):
            pair = second_reader.ex(key, "tree", 64)
            key = pair[32:] if number >> (31 - depth) & 1 else pair[:32]
            secrets[f"node {depth + 1}/{number >> (31 - depth)}"] = key
        info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00" + message[37:61] + b"seg" + digest + message[:37]
        secrets[f"message key {number}"] = second_reader.hkdf_expand("sha512", key, info, 32)
    return secrets


def _courier_secrets(header: bytes, private: bytes) -> dict[str, bytes]:
    """Both shared secrets of the hybrid KEM, what they combine to, and the HPKE secret."""
    both = second_reader.shared_secrets(private, header[60:])
    shared = second_reader.combine(private, header[60:], *both)
    secret, _schedule = second_reader.key_schedule(shared, b"callseal/v1/part" + hashlib.sha256(header[:60]).digest())
    return {"ML-KEM secret": both[0], "X25519 secret": both[1], "combined secret": shared, "HPKE secret": secret}


def test_what_freed_bytes_objects_held_is_overwritten() -> None:
    secrets = [os.urandom(32) for _ in range(16)]
    addresses, known = [id(secret) + sys.getsizeof(b"") - 1 for secret in secrets], [bytearray(secret) for secret in secrets]
    buffers = [ctypes.create_string_buffer(32) for _ in range(32)]
    del secrets
    for address, buffer in zip(addresses, buffers[:16], strict=True):
        ctypes.memmove(buffer, address, 32)
    scrub_freed()
    for address, buffer in zip(addresses, buffers[16:], strict=True):
        ctypes.memmove(buffer, address, 32)
    left = [buffer.raw[8:] == secret[8:] for buffer, secret in zip(buffers, known + known, strict=True)]
    assert any(left[:16]), "the control: freeing alone leaves them there"
    assert not any(left[16:])
