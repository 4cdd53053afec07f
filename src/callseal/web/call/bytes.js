// Bytes and their spellings: UTF-8, unpadded base64url (RFC 4648 section 5), lower-case hex. A spelling that is not the one
// canonical spelling of its bytes throws a RangeError.

const LETTERS = /^[A-Za-z0-9_-]*$/;

export const fromText = (text) => new TextEncoder().encode(text);
export const toText = (bytes) => new TextDecoder("utf-8", { fatal: true }).decode(bytes);

export function toBase64url(bytes) {
  const letters = Array.from(new Uint8Array(bytes), (byte) => String.fromCharCode(byte)).join("");
  return btoa(letters).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

export function fromBase64url(text, length = null) {
  if (typeof text !== "string" || !LETTERS.test(text) || text.length % 4 === 1) throw new RangeError("base64url: expected its letters");
  const bytes = fromBase64(text.replaceAll("-", "+").replaceAll("_", "/"));
  if (toBase64url(bytes) !== text) throw new RangeError("base64url: expected the canonical spelling");
  if (length !== null && bytes.length !== length) throw new RangeError(`base64url: expected ${length} bytes, got ${bytes.length}`);
  return bytes;
}

export const fromBase64 = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

export const toHex = (bytes) => Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");

export function fromHex(text) {
  if (typeof text !== "string" || !/^(?:[0-9a-f]{2})*$/.test(text)) throw new RangeError("hex: expected pairs of lower-case digits");
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

export function concat(...parts) {
  const lists = parts.map((part) => (typeof part === "string" ? fromText(part) : new Uint8Array(part)));
  const all = new Uint8Array(lists.reduce((sum, list) => sum + list.length, 0));
  let at = 0;
  for (const list of lists) {
    all.set(list, at);
    at += list.length;
  }
  return all;
}

// Compare without leaving early.
export function same(a, b) {
  const [one, two] = [new Uint8Array(a), new Uint8Array(b)];
  if (one.length !== two.length) return false;
  let difference = 0;
  for (let at = 0; at < one.length; at++) difference |= one[at] ^ two[at];
  return difference === 0;
}
