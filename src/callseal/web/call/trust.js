// Is this the business that the link names, and is that device one of its own? docs/spec/private-call.md section 4, in its order.
//
// `now` is an argument, in milliseconds. The first check that fails throws `Refused` with its name; what is returned may be believed.

import { fromBase64url, fromHex, fromText, same, toHex } from "./bytes.js";
import { decode, encode } from "./canonical.js";
import { hash } from "./kdf.js";
import { COSIGNATURE, ED25519, isIncluded, makeKey, parseCheckpoint, parseKey, signaturesBy, splitNote } from "./note.js";
import { Refused } from "./reasons.js";
import { b64, fits, hex, is, list, matching, object, text, time, whole } from "./shape.js";

const SPKI = fromHex("302a300506032b6570032100");
const HEAD = "callseal/manifest/1\n";
const WEEK_MS = 7 * 24 * 3600_000;
const DAY_MS = 24 * 3600_000;
const SKEW_MS = 5 * 60_000;

export const DEVICE = { key: b64(32), not_after: time, role: text(1, 40) };
export const PROOF = { entry: text(2, 4096), index: whole(0), path: list(b64(32), 48), checkpoint: text(1, 16384, true) };
const MANIFEST = {
  v: is(1), sequence: whole(1), root: b64(32), business: text(1, 80), phone: matching(/^[+0-9 ]{0,40}$/), issued_at: time,
  not_after: time, min_version: whole(1), log: text(1, 400), witnesses: list(text(1, 400), 4, 1),
  devices: list(object(DEVICE), 200), revoked: list(hex(32), 10_000), page: hex(32), recording_keys: list(() => false, 0),
};
const MANIFEST_ENTRY = ["sequence", "manifest", "kid"];

export const kidOf = (root) => hash(SPKI, root);

// The root key that a manifest says is its own, with nothing verified: for a first look, which a person compares with the paper.
export const claimedRoot = (manifest) => fromBase64url(readManifest(manifest).body.root, 32);

// Returns the manifest's members. `seen` is the highest sequence seen so far from this root.
export async function checkTrust(manifest, proof, kid, now, seen = 0) {
  const { note, body } = readManifest(manifest); // 1
  const digests = await Promise.all(body.devices.map((device) => digestOf(device.key)));
  if (digests.some((digest) => body.revoked.includes(digest))) throw new Refused("manifest-malformed");
  const root = fromBase64url(body.root);
  if (!same(await kidOf(root), kid)) throw new Refused("root-unknown"); // 2
  const signed = await signaturesBy(await makeKey("callseal-manifest", ED25519, root), note);
  if (!signed?.length) throw new Refused("manifest-signature"); // 3
  if (!(Date.parse(body.issued_at) - SKEW_MS <= now && now < Date.parse(body.not_after))) throw new Refused("manifest-expired"); // 4
  if (body.min_version > 1) throw new Refused("version");
  if (body.sequence < seen) throw new Refused("manifest-rolled-back"); // 5
  const digest = await hash(note.text);
  const checkpoint = await checkCheckpoint(body, proof, now); // 6, 7
  checkHead(checkpoint, body.sequence, digest); // 8
  await checkEntry(proof, checkpoint, body.sequence, digest, kid); // 9
  return body;
}

function readManifest(manifest) {
  try {
    const note = splitNote(manifest);
    if (!note.text.startsWith(HEAD) || note.text.indexOf("\n", HEAD.length) !== note.text.length - 1) throw new RangeError("two lines");
    const body = decode(fromText(note.text.slice(HEAD.length, -1)));
    if (!fits(body, MANIFEST) || !isConsistent(body)) throw new RangeError("table");
    return { note, body };
  } catch {
    throw new Refused("manifest-malformed");
  }
}

function isConsistent({ issued_at, not_after, devices, revoked }) {
  const issued = Date.parse(issued_at);
  const rises = (values) => values.every((value, at) => at === 0 || values[at - 1] < value);
  const within = (end) => Date.parse(end) - issued <= WEEK_MS;
  return within(not_after) && Date.parse(not_after) > issued && devices.every((device) => within(device.not_after)) &&
    rises(devices.map((device) => device.key)) && rises(revoked);
}

async function checkCheckpoint(body, proof, now) {
  let note, checkpoint, log, witnesses;
  try {
    note = splitNote(proof.checkpoint);
    checkpoint = parseCheckpoint(note.text);
    log = await parseKey(body.log, ED25519);
  } catch {
    throw new Refused("log-signature");
  }
  if (!(await signaturesBy(log, note))?.length || checkpoint.origin !== log.name) throw new Refused("log-signature");
  try {
    witnesses = await Promise.all(body.witnesses.map((line) => parseKey(line, COSIGNATURE)));
  } catch {
    throw new Refused("witness-missing");
  }
  const found = await Promise.all(witnesses.map((witness) => signaturesBy(witness, note)));
  if (found.includes(null)) throw new Refused("log-signature"); // one that a witness never gave spoils the note
  const times = found.flat();
  if (!times.length) throw new Refused("witness-missing");
  const newest = Math.max(...times.map(({ time: seconds }) => seconds * 1000));
  if (newest < now - DAY_MS || newest > now + SKEW_MS) throw new Refused("log-stale");
  return checkpoint;
}

function checkHead(checkpoint, sequence, digest) {
  const heads = checkpoint.extensions.filter((line) => line.startsWith("manifest "));
  const found = heads.length === 1 ? /^manifest ([1-9]\d{0,14}) ([0-9a-f]{64})$/.exec(heads[0]) : null;
  if (!found) throw new Refused("manifest-unlogged");
  if (Number(found[1]) > sequence) throw new Refused("manifest-rolled-back");
  if (Number(found[1]) !== sequence || found[2] !== toHex(digest)) throw new Refused("manifest-unlogged");
}

async function checkEntry(proof, checkpoint, sequence, digest, kid) {
  const wanted = { sequence, manifest: toHex(digest), kid: toHex(kid) };
  let entry;
  try {
    entry = decode(fromText(proof.entry));
  } catch {
    throw new Refused("manifest-unlogged");
  }
  const says = entry?.type === "ManifestPublished" && MANIFEST_ENTRY.every((name) => entry[name] === wanted[name]);
  const path = proof.path.map((item) => fromBase64url(item, 32));
  if (!says || !(await isIncluded(fromText(proof.entry), proof.index, checkpoint, path))) throw new Refused("manifest-unlogged");
}

const digestOf = async (key) => toHex(await hash(fromBase64url(key, 32)));

// The device that answered, against a manifest that may be believed.
export async function checkDevice(device, body, now) {
  if (body.revoked.includes(await digestOf(device.key))) throw new Refused("device-revoked");
  const wanted = encode(device);
  if (!body.devices.some((listed) => same(encode(listed), wanted))) throw new Refused("device-unknown");
  if (!(Date.parse(device.not_after) > now)) throw new Refused("device-expired");
}

export const checkProofShape = (proof) => fits(proof, PROOF);
