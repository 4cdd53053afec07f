// Signed notes, cosignatures and checkpoints of the log: C2SP signed-note, tlog-cosignature (type 4), tlog-checkpoint, and the
// inclusion proof of RFC 6962 section 2.1.1. Whatever does not parse throws a RangeError.

import { fromBase64, fromHex, same } from "./bytes.js";
import { hash, verifyEd25519 } from "./kdf.js";

export const ED25519 = 1;
export const COSIGNATURE = 4;
const LIMIT_CHARACTERS = 128 << 10;
const LIMIT_SIGNATURES = 64;
const LINE = /^— ([^\s+]{1,255}) ([A-Za-z0-9+/]+={0,2})$/;

function strictBase64(text) {
  const bytes = fromBase64(text);
  if (btoa(String.fromCharCode(...bytes)) !== text) throw new RangeError("base64: expected its one spelling");
  return bytes;
}

// Text, and its signature lines with nothing verified.
export function splitNote(note) {
  if (typeof note !== "string" || note.length > LIMIT_CHARACTERS) throw new RangeError("note: expected a text within the limit");
  const blank = note.lastIndexOf("\n\n");
  if (blank < 1 || !note.endsWith("\n") || /[\0-\x09\x0b-\x1f]/.test(note)) throw new RangeError("note: malformed");
  const lines = note.slice(blank + 2, -1).split("\n");
  if (lines.length > LIMIT_SIGNATURES) throw new RangeError("note: too many signatures");
  const signatures = lines.map((line) => {
    const found = LINE.exec(line);
    const data = found ? strictBase64(found[2]) : [];
    if (data.length < 5) throw new RangeError("note: expected signature lines");
    return { name: found[1], id: data.slice(0, 4), signature: data.slice(4) };
  });
  return { text: note.slice(0, blank + 1), signatures };
}

const keyId = async (name, kind, key) => (await hash(name, "\n", new Uint8Array([kind]), key)).slice(0, 4);

export async function makeKey(name, kind, key) {
  return { name, kind, key, id: await keyId(name, kind, key) };
}

// A verifier key line: name+id+base64(type ‖ key).
export async function parseKey(line, kind) {
  const parts = /^([^\s+]{1,255})\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})$/.exec(line);
  const data = parts ? strictBase64(parts[3]) : [];
  if (data.length !== 33 || data[0] !== kind) throw new RangeError("key: expected a verifier key of another type");
  const made = await makeKey(parts[1], kind, data.slice(1));
  if (!same(made.id, fromHex(parts[2]))) throw new RangeError("key: expected its own id");
  return made;
}

// The signatures of this key over the text: each with `time` (seconds) where it is a cosignature. One that does not verify, under
// a name and id that are this key's, spoils the note: null.
export async function signaturesBy(key, { text, signatures }) {
  const found = [];
  for (const { name, id, signature } of signatures) {
    if (name !== key.name || !same(id, key.id)) continue;
    const verified = key.kind === COSIGNATURE ? await cosigned(key.key, signature, text) : await plain(key.key, signature, text);
    if (verified === null) return null;
    found.push(verified);
  }
  return found;
}

const plain = async (key, signature, text) => ((await verifyEd25519(key, signature, text)) ? {} : null);

async function cosigned(key, signature, text) {
  if (signature.length !== 72) return null;
  const time = new DataView(signature.buffer, signature.byteOffset, 8).getBigUint64(0);
  if (time > BigInt(Number.MAX_SAFE_INTEGER)) return null;
  const fits = await verifyEd25519(key, signature.slice(8), `cosignature/v1\ntime ${time}\n${text}`);
  return fits ? { time: Number(time) } : null;
}

export function parseCheckpoint(text) {
  const lines = text.split("\n");
  const [origin, size, root, ...extensions] = lines.slice(0, -1);
  if (lines.length < 4 || lines.length > 16 || lines.at(-1) !== "" || lines.slice(0, -1).includes("")) throw new RangeError("checkpoint: malformed");
  if (!/^(?:0|[1-9]\d{0,14})$/.test(size)) throw new RangeError("checkpoint: expected a size");
  const digest = strictBase64(root);
  if (digest.length !== 32) throw new RangeError("checkpoint: expected a root of 32 bytes");
  return { origin, size: Number(size), root: digest, extensions };
}

const leafHash = (entry) => hash(new Uint8Array([0]), entry);
const nodeHash = (left, right) => hash(new Uint8Array([1]), left, right);

// Whether this entry stands at this number of the tree.
export async function isIncluded(entry, index, { size, root }, path) {
  if (!Number.isSafeInteger(index) || index < 0 || index >= size) return false;
  const rest = [...path];
  const computed = await climb(await leafHash(entry), index, size, rest);
  return computed !== null && rest.length === 0 && same(computed, root);
}

async function climb(leaf, index, size, rest) {
  if (size === 1) return leaf;
  const sibling = rest.pop();
  if (sibling === undefined) return null;
  let split = 1;
  while (split * 2 < size) split *= 2;
  const below = index < split ? await climb(leaf, index, split, rest) : await climb(leaf, index - split, size - split, rest);
  if (below === null) return null;
  return index < split ? nodeHash(below, sibling) : nodeHash(sibling, below);
}

