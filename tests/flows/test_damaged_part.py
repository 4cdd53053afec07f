"""A part whose spool was damaged in the middle: its metadata is still adopted, and its last second still reached."""

from callseal.flows.capture import _meta_of
from callseal.flows.sealed_part import SealedPart
from callseal.model.message import to_bytes
from callseal.vault.message import Kind
from callseal.vault.object import ObjectReader, assemble
from callseal.vault.seal import PartSealer
from callseal.vault.tree import KeyTree
from callseal.vault.unseal import PartOpener, open_header
from tests.vault.sealed_rig import RECORDING, card, keys


def test_metadata_after_a_lost_message_is_still_adopted_and_the_last_message_reached() -> None:
    with PartSealer(RECORDING, 0, card()) as sealer:
        kinds = [Kind.MEDIA, Kind.META, Kind.MEDIA, Kind.META, Kind.MEDIA]
        messages = [(n, sealer.seal(kind, b"%d" % n)) for n, kind in enumerate(kinds)]
    made = assemble(sealer.header, [*messages[:2], *messages[3:]])
    core, dek = open_header(sealer.header, keys(7)[0])
    opener = PartOpener(core, KeyTree.from_seed(dek).nodes)
    pairs = [(to_bytes(before, "p"), to_bytes(message, "m")) for before, message in _meta_of(made)]
    assert [opener.open(message, before).plaintext for before, message in pairs] == [b"1", b"3"]
    assert SealedPart(0, ObjectReader.from_bytes(made.content)).last == 4
