// What this browser keeps for private calls: its device key and its invitation key, which no script can read out, the business's
// key as it was first confirmed, and which calls were used. No secret of a link is kept: it is made again from the invitation key.

import { fromBase64url, fromText, toBase64url } from "/static/call/bytes.js";
import { hmac, random } from "/static/call/kdf.js";

const NAME = "callseal-private";
const KEPT_MS = 30 * 24 * 3600_000;

const done = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

export async function openStore() {
  const asked = indexedDB.open(NAME, 1);
  asked.onupgradeneeded = () => {
    asked.result.createObjectStore("keys");
    asked.result.createObjectStore("calls", { keyPath: "call" });
  };
  return new Store(await done(asked));
}

class Store {
  constructor(database) {
    this.database = database;
  }

  #in(name, mode) {
    return this.database.transaction(name, mode, { durability: "strict" }).objectStore(name);
  }

  get(name) {
    return done(this.#in("keys", "readonly").get(name));
  }

  put(name, value) {
    return done(this.#in("keys", "readwrite").put(value, name));
  }

  forget(name) {
    return done(this.#in("keys", "readwrite").delete(name));
  }

  // A new device key: it can sign, and cannot be taken away. Kept once it is enrolled.
  async newDevice() {
    const pair = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
    const key = toBase64url(await crypto.subtle.exportKey("raw", pair.publicKey));
    return { sign: pair.privateKey, key, entry: null };
  }

  async #invitationKey() {
    const kept = await this.get("invitation");
    if (kept) return kept;
    await this.put("invitation", await crypto.subtle.generateKey({ name: "HMAC", hash: "SHA-256", length: 256 }, false, ["sign"]));
    return this.get("invitation");
  }

  // The one-time secret of a call that this browser invited to (docs/spec/private-call.md section 3).
  async secretOf(call) {
    return (await hmac(await this.#invitationKey(), fromText("plh1/psk"), fromBase64url(call, 16))).slice(0, 16);
  }

  async invite(expiresAt, madeAt) {
    const invitation = { call: toBase64url(random(16)), expires_at: expiresAt, made_at: madeAt, used: false };
    await done(this.#in("calls", "readwrite").put(invitation));
    return invitation;
  }

  invitation(call) {
    return done(this.#in("calls", "readonly").get(call));
  }

  // Noted before the one-time secret is used. Returns false where it was used before.
  async use(call) {
    const calls = this.#in("calls", "readwrite");
    const kept = await done(calls.get(call));
    if (kept?.used) return false;
    await done(calls.put({ ...(kept ?? { call, expires_at: null, made_at: null }), used: true }));
    return true;
  }

  // Invitations that can still be used, newest first; what ended long ago is forgotten.
  async invitations(now) {
    const all = await done(this.#in("calls", "readonly").getAll());
    const old = all.filter(({ expires_at }) => expires_at && Date.parse(expires_at) < now - KEPT_MS);
    for (const { call } of old) await done(this.#in("calls", "readwrite").delete(call));
    const open = all.filter(({ used, expires_at }) => !used && expires_at && Date.parse(expires_at) > now);
    return open.sort((a, b) => (a.made_at < b.made_at ? 1 : -1));
  }
}
