// This browser as one of the business's devices: one tab of it, its key enrolled behind the passkey, and whether the root key's
// newest list knows it. docs/spec/private-call.md section 4, checked here as a customer will check it.

import { get, post } from "./api.js";
import { usePasskey } from "./passkey.js";
import { fromBase64url, toBase64url } from "/static/call/bytes.js";
import { Refused } from "/static/call/reasons.js";
import { checkDevice, checkProofShape, checkTrust, claimedRoot, kidOf } from "/static/call/trust.js";

const LOCK = "callseal-private-calls";

// One tab of this browser rings. Returns null where another holds the line, else { lost }, which settles when it is taken from us.
export function alone(steal) {
  return new Promise((resolve) => {
    let free;
    const held = new Promise((done) => (free = done));
    const options = steal ? { steal: true } : { ifAvailable: true };
    navigator.locks
      .request(LOCK, options, (lock) => {
        resolve(lock ? { lost: held } : null);
        return lock ? new Promise(() => {}) : null;
      })
      .catch(() => free());
  });
}

// Returns { state, why, next, kid, kidBytes, device, manifest, proof, body }; state is later (ask again), no-manifest, pin, enrol,
// pending or ready.
export async function findStanding(store, now) {
  let [device, next] = [await store.get("device"), await store.get("next")];
  const pinned = await store.get("pin");
  let trust;
  try {
    trust = await get("/api/private/trust");
  } catch (error) {
    if (error.status === 404) return { state: "no-manifest", device, wantsDevice: !device?.entry };
    if (error.status === 503) return { state: "later", words: error.message };
    throw error;
  }
  const { manifest, proof } = trust;
  try {
    const kidBytes = pinned ? fromBase64url(pinned.kid, 32) : await kidOf(claimedRoot(manifest));
    if (!checkProofShape(proof)) throw new Refused("malformed");
    const body = await checkTrust(manifest, proof, kidBytes, now, pinned?.sequence ?? 0);
    if (next && body.devices.some(({ key }) => key === next.key)) {
      await store.put("device", next);
      await store.forget("next");
      [device, next] = [next, undefined];
    }
    const known = { next, kid: toBase64url(kidBytes), kidBytes, device, manifest, proof, body };
    if (!pinned) return { state: "pin", ...known };
    if (body.sequence > pinned.sequence) await store.put("pin", { kid: pinned.kid, sequence: body.sequence });
    return { ...(await standingOf(store, device, body, now)), ...known };
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return { state: "no-manifest", why: error.reason, device, wantsDevice: false };
  }
}

async function standingOf(store, device, body, now) {
  if (!device?.entry) return { state: "enrol" };
  const listed = body.devices.find(({ key }) => key === device.key);
  if (listed && listed.not_after !== device.entry.not_after) {
    device.entry = listed; // the list says when it ends
    await store.put("device", device);
  }
  try {
    await checkDevice(device.entry, body, now);
    return { state: "ready" };
  } catch (error) {
    if (error.reason === "device-unknown" && Date.parse(device.entry.not_after) > now) return { state: "pending" };
    await store.forget("device");
    return { state: "enrol", why: error.reason };
  }
}

// A new key of this browser, on the record by its owner's passkey. Where it has one already, the new one waits until it is listed.
export async function enrolDevice(store, role) {
  const device = await store.newDevice();
  const { request, options, nonce } = await post("/api/private/devices/begin", { key: device.key, role });
  if (!options) throw new Error("Enrolling a device needs a passkey; you have none here.");
  const finished = await post("/api/private/devices/finish", { request, nonce, response: await usePasskey(options) });
  device.entry = finished.device;
  await store.put((await store.get("device"))?.entry ? "next" : "device", device);
}
