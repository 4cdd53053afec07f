"""Makes docs/spec/vectors/keys.json and sealed-recording.json anew: `python -m tests.vault.make_vectors` from the project's root.

Each fault is one change to something good. Seals are random, so the files differ each time they are made; keep them.
"""

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from callseal.audit.note import Signer, sign_note
from callseal.vault import cobblestone
from callseal.vault.card import encode_card
from callseal.vault.expand import expand
from callseal.vault.object import ROW_LENGTH, TRAILER_LENGTH, assemble
from callseal.vault.tree import LAST_LEAF, KeyTree, Node
from callseal.vault.unseal import open_header
from tests.vault.sealed_rig import RECORDING, Part, card, keys, seal_part

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "spec" / "vectors"
SEED = bytes(range(32))


def show(nodes: tuple[Node, ...]) -> list[list[Any]]:
    return [[node.depth, node.prefix, node.key.hex()] for node in nodes]


def flip(data: bytes, place: int) -> bytes:
    place %= len(data)
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def reforge(content: bytes) -> bytes:
    """With the checksum that fits, as anybody can make it."""
    state, count, _checksum, magic = struct.unpack(">BI32s4s", content[-TRAILER_LENGTH:])
    body = content[:-TRAILER_LENGTH]
    return body + struct.pack(">BI32s4s", state, count, hashlib.sha256(body).digest(), magic)


def key_vectors() -> dict[str, Any]:
    whole = KeyTree.from_seed(SEED)
    punctured = KeyTree.from_seed(SEED)
    for index in (5, 77):
        punctured.puncture(index)
    written = punctured.to_bytes()
    sealed = cobblestone.encrypt(SEED, b"row", b"a key" * 4000)
    signer = Signer.from_seed("callseal.example/2026", SEED)
    note = encode_card(card(), lambda text: sign_note(text, signer).decode())
    return {
        "expand": [{"key": SEED.hex(), "label": name, "out": expand(SEED, name, n).hex()} for name, n in (("tree", 64), ("dek", 32))],
        "tree": {
            "seed": SEED.hex(),
            "leaves": [[index, whole.leaf(index).hex()] for index in (0, 1, 2, 77, 1 << 31, LAST_LEAF)],
            "cover": {"first": 3, "last": 9, "nodes": show(whole.cover(3, 9))},
            "punctured": {"gone": [5, 77], "written": written.hex()},
            "faults": [
                {"name": "one byte short", "written": written[:-1].hex()},
                {"name": "count one too high", "written": flip(written, 3).hex()},
                {"name": "first node deeper than 32", "written": (written[:4] + b"\x21" + written[5:]).hex()},
                {"name": "prefix longer than its depth", "written": (written[:5] + b"\xff" + written[6:]).hex()},
                {"name": "two nodes in the wrong order", "written": (written[:4] + written[41:78] + written[4:41] + written[78:]).hex()},
                {"name": "a node twice", "written": (written[:41] + written[4:41] + written[78:]).hex()},
            ],
        },
        "c256": {
            "key": SEED.hex(), "context": b"row".hex(), "sealed": sealed.hex(), "sha256": hashlib.sha256(b"a key" * 4000).hexdigest(),
            "faults": [
                {"name": "salt", "flip": 0},
                {"name": "commitment", "flip": 24},
                {"name": "first chunk", "flip": 56},
                {"name": "last tag", "flip": len(sealed) - 1},
                {"name": "last chunk cut off", "cut": 56 + 16400},
                {"name": "one byte short", "cut": len(sealed) - 1},
            ],
        },
        "card": {"vkey": signer.verifier.vkey(), "note": note, "public_key": keys(7)[1].hex(), "faults": [
            {"name": "epoch", "note": note.replace("\n7\n", "\n8\n", 1)},
            {"name": "another form of the epoch, well signed", "note": encode_card(card(), lambda text: sign_note(text.replace("\n7\n", "\n07\n", 1), signer).decode())},
            {"name": "no signature", "note": note.partition("\n\n")[0] + "\n"},
        ]},
    }  # fmt: skip


def object_faults(part: Part, other: Part) -> list[dict[str, str]]:
    made = part.assembled()
    content, rows = made.content, made.rows
    index = len(content) - TRAILER_LENGTH - ROW_LENGTH * len(rows)
    plain: list[tuple[str, Callable[[], bytes]]] = [
        ("magic of the header", lambda: reforge(flip(content, 0))),
        ("recording in the header", lambda: reforge(flip(content, 4))),
        ("part in the header", lambda: reforge(flip(content, 23))),
        ("epoch in the header", lambda: reforge(flip(content, 27))),
        ("digest of the public key", lambda: reforge(flip(content, 30))),
        ("encapsulated key", lambda: reforge(flip(content, 100))),
        ("sealed DEK", lambda: reforge(flip(content, 1227))),
        ("length of a message", lambda: reforge(flip(content, rows[2].offset - 1))),
        ("number of a message", lambda: reforge(flip(content, rows[2].offset + 3))),
        ("kind of a message", lambda: reforge(flip(content, rows[2].offset + 4))),
        ("predecessor of a message", lambda: reforge(flip(content, rows[2].offset + 5))),
        ("salt of a message", lambda: reforge(flip(content, rows[2].offset + 37))),
        ("commitment of a message", lambda: reforge(flip(content, rows[2].offset + 61))),
        ("ciphertext of a message", lambda: reforge(flip(content, rows[2].offset + 93))),
        ("tag of the last message", lambda: reforge(flip(content, index - 1))),
        ("offset in the index", lambda: reforge(flip(content, index + 7))),
        ("number in the index", lambda: reforge(flip(content, index + 15))),
        ("kind in the index", lambda: reforge(flip(content, index + 16))),
        ("commitment in the index", lambda: reforge(flip(content, index + 21))),
        ("state", lambda: reforge(content[:-TRAILER_LENGTH] + bytes([2]) + content[1 - TRAILER_LENGTH :])),
        ("checksum", lambda: flip(content, -36)),
        ("end of the trailer", lambda: flip(content, -1)),
        ("moment in the index, checksum as it was", lambda: flip(content, index + 20)),
        ("one byte short", lambda: content[:-1]),
        ("one byte more", lambda: content + b"\x00"),
        ("a message from another part of the same name", lambda: assemble(part.header, [*part.messages[:3], other.messages[3]]).content),
        ("messages under another part's sealed DEK", lambda: assemble(other.header, part.messages).content),
    ]
    return [{"name": name, "object": make().hex()} for name, make in plain]


def recording_vectors() -> dict[str, Any]:
    part, other = seal_part(), seal_part()
    made, spool = part.assembled(), part.spool()
    core, dek = open_header(part.header, keys(7)[0])
    opener = part.opener()
    frame = len(part.header) + 36
    holed = assemble(part.header, [*part.messages[:2], *part.messages[3:]])
    return {
        "private_key": keys(7)[0].hex(), "recording": RECORDING.hex(), "dek": dek.hex(), "core_digest": core.digest().hex(),
        "spool": spool.hex(), "object": made.content.hex(),
        "messages": [[at, opener.open(message).kind, opener.open(message).plaintext.hex()] for at, message in part.messages],
        "hole": {"object": holed.content.hex(), "missing": [2]},
        "spool_faults": [
            {"name": "header's frame damaged", "spool": flip(spool, 40).hex(), "frames": 7},
            {"name": "length of the second frame", "spool": flip(spool, frame + 7).hex(), "frames": 7},
            {"name": "moment of the second frame", "spool": flip(spool, frame + 31).hex(), "frames": 7},
            {"name": "torn tail", "spool": spool[:-1].hex(), "frames": 7},
            {"name": "zeros after the end", "spool": (spool + bytes(50)).hex(), "frames": 8},
        ],
        "object_faults": object_faults(part, other),
    }  # fmt: skip


def main() -> None:
    for name, vectors in (("keys", key_vectors()), ("sealed-recording", recording_vectors())):
        (FOLDER / f"{name}.json").write_text(json.dumps(vectors, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
