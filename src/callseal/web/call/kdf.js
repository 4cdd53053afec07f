// Hash, HMAC, HKDF (RFC 5869, outputs of at most 32 bytes), Ed25519 and X-Wing (WebCrypto's MLKEM768-X25519).

import { concat, same } from "./bytes.js";

export const KEM = "MLKEM768-X25519";
const subtle = globalThis.crypto.subtle;

export const random = (length) => crypto.getRandomValues(new Uint8Array(length));

export const hash = async (...parts) => new Uint8Array(await subtle.digest("SHA-256", concat(...parts)));

export async function hmac(key, ...parts) {
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const used = key instanceof CryptoKey ? key : await subtle.importKey("raw", key, algorithm, false, ["sign"]);
  return new Uint8Array(await subtle.sign("HMAC", used, concat(...parts)));
}

export const extract = (salt, ikm) => hmac(salt, ikm);

export async function expand(key, info, length = 32) {
  if (length > 32) throw new RangeError("expand: expected at most 32 bytes");
  return (await hmac(key, info, new Uint8Array([1]))).slice(0, length);
}

export const checkMac = async (key, mac, ...parts) => same(await hmac(key, ...parts), mac);

export async function verifyEd25519(publicKey, signature, ...parts) {
  try {
    const key = await subtle.importKey("raw", publicKey, "Ed25519", false, ["verify"]);
    return await subtle.verify("Ed25519", key, signature, concat(...parts));
  } catch {
    return false; // a key or a signature that is none
  }
}

export const signEd25519 = async (key, ...parts) => new Uint8Array(await subtle.sign("Ed25519", key, concat(...parts)));

export async function newKemPair() {
  const pair = await subtle.generateKey(KEM, false, ["encapsulateBits", "decapsulateBits"]);
  return { privateKey: pair.privateKey, publicKey: new Uint8Array(await subtle.exportKey("raw-public", pair.publicKey)) };
}

export async function encapsulate(publicKey) {
  const key = await subtle.importKey("raw-public", publicKey, KEM, false, ["encapsulateBits"]);
  const { ciphertext, sharedKey } = await subtle.encapsulateBits(KEM, key);
  return { ciphertext: new Uint8Array(ciphertext), secret: new Uint8Array(sharedKey) };
}

export const decapsulate = async (privateKey, ciphertext) => new Uint8Array(await subtle.decapsulateBits(KEM, privateKey, ciphertext));
