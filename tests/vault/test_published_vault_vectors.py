"""The primitives of the vault against the vectors that others published."""

import gzip
import hashlib
import json
import zlib
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.bindings._rust import openssl as rust_openssl
from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from callseal.errors import TamperedError
from callseal.vault import cobblestone
from tests.conftest import VECTORS

WYCHEPROOF = VECTORS / "wycheproof"
needs_vectors = pytest.mark.skipif(not VECTORS.is_dir(), reason="published vectors are not beside the project")


def wycheproof(name: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each test with its group."""
    content = json.loads((WYCHEPROOF / f"{name}_test.json").read_text())
    tests = [(group, test) for group in content["testGroups"] for test in group["tests"]]
    assert len(tests) == content["numberOfTests"]
    return tests


@needs_vectors
def test_cobblestone_opens_what_it_should_and_nothing_else(record_property: Any) -> None:
    tests = wycheproof("c2sp_chunked_encryption_aes_256_gcm")
    for _group, test in tests:
        key, context = bytes.fromhex(test["key"]), bytes.fromhex(test["ctx"])
        ciphertext = zlib.decompress(bytes.fromhex(test["ct"]))
        if test["result"] == "valid":
            message = cobblestone.decrypt(key, context, ciphertext)
            assert len(message) == test["msgLength"], test["tcId"]
            assert hashlib.sha512(message).hexdigest() == test["msgSha512"], test["tcId"]
            assert len(ciphertext) == cobblestone.sealed_length(len(message))
        else:
            with pytest.raises(TamperedError):
                cobblestone.decrypt(key, context, ciphertext)
    record_property("published_vectors", len(tests))


@needs_vectors
def test_cobblestone_derives_the_published_keys() -> None:
    """Key, base nonce and commitment, of every vector that opens."""
    derived_from = 0
    for _group, test in wycheproof("c2sp_chunked_encryption_aes_256_gcm"):
        if test["result"] == "valid":
            key, context = bytes.fromhex(test["key"]), bytes.fromhex(test["ctx"])
            ciphertext = zlib.decompress(bytes.fromhex(test["ct"]))
            derived = cobblestone._derive(key, ciphertext[: cobblestone.SALT_LENGTH], context)
            assert bytes(derived) == bytes.fromhex(test["aeadKey"] + test["baseNonce"]) + ciphertext[24:56]
            derived_from += 1
    assert derived_from == 10


@needs_vectors
def test_aes_256_gcm_agrees_with_wycheproof(record_property: Any) -> None:
    ran = 0
    for group, test in wycheproof("aes_gcm"):
        if (group["keySize"], group["ivSize"], group["tagSize"]) != (256, 96, 128):
            continue
        aead, nonce, aad = AESGCM(bytes.fromhex(test["key"])), bytes.fromhex(test["iv"]), bytes.fromhex(test["aad"])
        sealed, message = bytes.fromhex(test["ct"] + test["tag"]), bytes.fromhex(test["msg"])
        if test["result"] == "valid":
            out = bytearray(len(sealed))
            aead.encrypt_into(nonce, message, aad, out)
            assert out == sealed and aead.decrypt(nonce, sealed, aad) == message
        else:
            with pytest.raises(InvalidTag):
                aead.decrypt(nonce, sealed, aad)
        ran += 1
    assert ran > 50
    record_property("published_vectors", ran)


@needs_vectors
def test_hkdf_sha512_agrees_with_wycheproof(record_property: Any) -> None:
    tests = wycheproof("hkdf_sha512")
    for _group, test in tests:
        parameters = (hashes.SHA512(), test["size"], bytes.fromhex(test["salt"]), bytes.fromhex(test["info"]))
        if test["result"] == "valid":
            assert HKDF(*parameters).derive(bytes.fromhex(test["ikm"])).hex() == test["okm"]
        else:
            with pytest.raises(ValueError):
                HKDF(*parameters)
    record_property("published_vectors", len(tests))


@needs_vectors
def test_ml_kem_768_agrees_with_wycheproof(record_property: Any) -> None:
    tests = wycheproof("mlkem_768")
    for _group, test in tests:
        try:
            key = MLKEM768PrivateKey.from_seed_bytes(bytes.fromhex(test["seed"]))
            shared = key.decapsulate(bytes.fromhex(test["c"]))
        except ValueError:
            assert test["result"] == "invalid", test["tcId"]
            continue
        assert test["result"] == "valid", test["tcId"]
        assert shared.hex() == test["K"], test["tcId"]
        assert key.public_key().public_bytes_raw().hex() == test["ek"], test["tcId"]
    record_property("published_vectors", len(tests))


@needs_vectors
def test_x25519_agrees_with_wycheproof(record_property: Any) -> None:
    tests = wycheproof("x25519")
    for _group, test in tests:
        key = X25519PrivateKey.from_private_bytes(bytes.fromhex(test["private"]))
        try:
            shared = key.exchange(X25519PublicKey.from_public_bytes(bytes.fromhex(test["public"])))
        except ValueError:
            assert test["result"] != "valid" and set(test["shared"]) == {"0"}, test["tcId"]
            continue
        assert shared.hex() == test["shared"] and test["result"] != "invalid", test["tcId"]
    record_property("published_vectors", len(tests))


@needs_vectors
def test_ed25519_agrees_with_wycheproof(record_property: Any) -> None:
    tests = wycheproof("ed25519")
    for group, test in tests:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(group["publicKey"]["pk"]))
        try:
            key.verify(bytes.fromhex(test["sig"]), bytes.fromhex(test["msg"]))
        except InvalidSignature:
            assert test["result"] == "invalid", test["tcId"]
        else:
            assert test["result"] == "valid", test["tcId"]
    record_property("published_vectors", len(tests))


@needs_vectors
def test_hpke_base_mode_opens_the_vectors_of_rfc_9180(record_property: Any) -> None:
    """X25519 with each KDF and AEAD; the hybrid KEM has no published vectors and is read by `second_reader` instead."""
    kdfs = {1: hpke.KDF.HKDF_SHA256, 2: hpke.KDF.HKDF_SHA384, 3: hpke.KDF.HKDF_SHA512}
    aeads = {1: hpke.AEAD.AES_128_GCM, 2: hpke.AEAD.AES_256_GCM, 3: hpke.AEAD.CHACHA20_POLY1305}
    ran = 0
    for vector in json.loads(gzip.decompress((VECTORS / "hpke" / "vectors_rfc9180_5f503c5.json.gz").read_bytes())):
        if vector["mode"] != 0 or vector["kem_id"] != 32 or vector["aead_id"] not in aeads:
            continue
        suite = hpke.Suite(hpke.KEM.X25519, kdfs[vector["kdf_id"]], aeads[vector["aead_id"]])
        key = X25519PrivateKey.from_private_bytes(bytes.fromhex(vector["skRm"]))
        first = vector["encryptions"][0]
        info, aad = bytes.fromhex(vector["info"]), bytes.fromhex(first["aad"])
        sealed = bytes.fromhex(vector["enc"] + first["ct"])
        opened = rust_openssl.hpke._decrypt_with_aad(suite, sealed, key, info, aad)
        assert opened.hex() == first["pt"]
        with pytest.raises(InvalidTag):
            rust_openssl.hpke._decrypt_with_aad(suite, sealed, key, info + b"x", aad)
        ran += 1
    assert ran >= 6
    record_property("published_vectors", ran)
