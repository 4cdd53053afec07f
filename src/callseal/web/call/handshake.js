// PLH/1 (docs/spec/private-call.md section 5): the messages of both sides, and what each checks before it goes on.
//
// Nothing here touches a peer connection: a description is handed out only after everything about it was verified. Each object
// is one call's, takes each message once, and throws `Refused` at the first thing that does not hold.

import { concat, fromBase64url, fromText, same, toBase64url, toHex } from "./bytes.js";
import { decode, encode } from "./canonical.js";
import { checkMac, decapsulate, encapsulate, expand, extract, hash, hmac, newKemPair, random, signEd25519, verifyEd25519 } from "./kdf.js";
import { Later } from "./later.js";
import { Refused } from "./reasons.js";
import { checkSdp } from "./sdp.js";
import { anyObject, b64, fits, hex, is, list, object, oneOf, text } from "./shape.js";
import { checkDevice, checkTrust, DEVICE, PROOF } from "./trust.js";

export const POLICY = Object.freeze({ cbr: true, comp_kid: null, parties: 2, rec: "none", relay: true, sframe: false });
const LIMIT_BYTES = 32 << 10;
const LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

const M1 = {
  v: is(1), call: b64(16), link: oneOf("public", "invitation"), nc_hash: b64(32), kem: b64(1216), fp: hex(32), sdp_hash: b64(32),
  caps: list(text(1, 40), 16),
};
const BODY = {
  v: is(1), call: b64(16), na: b64(32), ct: b64(1120), fp: hex(32), sdp_hash: b64(32), policy: anyObject, device: object(DEVICE),
  manifest: text(1, LIMIT_BYTES, true), proof: object(PROOF),
};
const M2 = { body: object(BODY), sig: b64(64), mac: b64(32) };
const M3 = { v: is(1), call: b64(16), nc: b64(32), mac: b64(32) };

function read(message, table) {
  try {
    const bytes = fromText(message);
    const value = decode(bytes);
    if (bytes.length > LIMIT_BYTES || !fits(value, table)) throw new RangeError("table");
    return { value, bytes };
  } catch {
    throw new Refused("malformed");
  }
}

const spell = (value) => new TextDecoder().decode(encode(value));
const saltOf = (psk) => psk ?? new Uint8Array(32);

// All keys of a call, from the shared secret and the three messages.
export async function deriveKeys(prk, kid, m1Hash, m2Hash, nc) {
  const th = await hash(m1Hash, m2Hash, nc);
  const key = await expand(prk, concat("plh1", kid, th));
  const [customer, toAgent, toCustomer, short] = await Promise.all([
    expand(key, "plh1/customer"), expand(key, "plh1/later/c"), expand(key, "plh1/later/a"), expand(key, "plh1/sas", 3),
  ]);
  return { th, key, customer, toAgent, toCustomer, sas: spellSas(short) };
}

export const agentKey = (prk, kid, m1Hash, bodyHash) => expand(prk, concat("plh1/agent", kid, m1Hash, bodyHash));

function spellSas([first, second, third]) {
  const bits = (first << 12) | (second << 4) | (third >> 4);
  return [15, 10, 5, 0].map((shift) => LETTERS[(bits >> shift) & 31]).join("");
}

class Steps {
  #done = new Set();

  once(step) {
    if (this.#done.has(step)) throw new Refused("replayed");
    this.#done.add(step);
  }
}

export class Customer {
  #steps = new Steps();
  #nonce = random(32);

  // `psk` is null for a public link; `kid` 32 bytes, `call` its text.
  constructor({ kid, psk, call }) {
    Object.assign(this, { kid, psk, call });
  }

  // M1, for our offer and our certificate's digest (hex).
  async begin(offer, fp) {
    this.#steps.once("M1");
    this.fp = fp;
    this.kem = await newKemPair();
    const message = {
      v: 1, call: this.call, link: this.psk ? "invitation" : "public", nc_hash: toBase64url(await hash(this.#nonce)),
      kem: toBase64url(this.kem.publicKey), fp, sdp_hash: toBase64url(await hash(offer)), caps: [],
    };
    this.m1Hash = await hash(encode(message));
    return spell(message);
  }

  // M2 and the answer: who it is and M3, or `Refused`. `seen` is the highest manifest sequence seen so far.
  async verify(message, answer, now, seen = 0) {
    this.#steps.once("M2");
    const { value, bytes } = read(message, M2);
    const { body } = value;
    if (body.call !== this.call) throw new Refused("wrong-call");
    if (!same(await hash(answer), fromBase64url(body.sdp_hash))) throw new Refused("sdp-changed");
    const manifest = await checkTrust(body.manifest, body.proof, this.kid, now, seen);
    await checkDevice(body.device, manifest, now);
    const bodyHash = await hash(encode(body));
    const signature = fromBase64url(value.sig);
    const key = fromBase64url(body.device.key);
    if (!(await verifyEd25519(key, signature, "plh1/sig", this.kid, this.m1Hash, bodyHash))) throw new Refused("signature");
    const prk = await extract(saltOf(this.psk), await this.#open(body.ct));
    const mac = fromBase64url(value.mac);
    if (!(await checkMac(await agentKey(prk, this.kid, this.m1Hash, bodyHash), mac, signature))) throw new Refused("mac");
    if (!same(encode(body.policy), encode(POLICY))) throw new Refused("policy");
    if (toHex(checkSdp(answer, "answer")) !== body.fp) throw new Refused("fingerprint");
    const keys = await deriveKeys(prk, this.kid, this.m1Hash, await hash(bytes), this.#nonce);
    const proof = { v: 1, call: this.call, nc: toBase64url(this.#nonce), mac: toBase64url(await hmac(keys.customer, keys.th)) };
    const later = new Later({ call: this.call, policy: body.policy, own: this.fp, peer: body.fp, out: keys.toAgent, into: keys.toCustomer });
    return { manifest, device: body.device, policy: body.policy, fp: body.fp, sas: keys.sas, later, m3: spell(proof) };
  }

  async #open(ciphertext) {
    try {
      return await decapsulate(this.kem.privateKey, fromBase64url(ciphertext));
    } catch {
      throw new Refused("malformed");
    }
  }
}

export class Agent {
  #steps = new Steps();

  // `device` is our entry of the manifest, `sign` our device's key, which no script can read.
  constructor({ kid, psk, call, device, sign, manifest, proof }) {
    Object.assign(this, { kid, psk, call, device, sign, manifest, proof });
  }

  // M1 and the offer, before it is given to the browser.
  async receive(message, offer) {
    this.#steps.once("M1");
    const { value, bytes } = read(message, M1);
    if (value.call !== this.call) throw new Refused("wrong-call");
    if ((value.link === "invitation") !== (this.psk !== null)) throw new Refused("unknown-call");
    if (!same(await hash(offer), fromBase64url(value.sdp_hash))) throw new Refused("sdp-changed");
    if (toHex(checkSdp(offer, "offer")) !== value.fp) throw new Refused("fingerprint");
    this.m1 = value;
    this.m1Hash = await hash(bytes);
    return value.fp;
  }

  // M2, for our answer and our certificate's digest (hex).
  async reply(answer, fp) {
    this.#steps.once("M2");
    this.fp = fp;
    const { ciphertext, secret } = await this.#seal();
    const body = {
      v: 1, call: this.call, na: toBase64url(random(32)), ct: toBase64url(ciphertext), fp, sdp_hash: toBase64url(await hash(answer)),
      policy: { ...POLICY }, device: this.device, manifest: this.manifest, proof: this.proof,
    };
    const bodyHash = await hash(encode(body));
    const signature = await signEd25519(this.sign, "plh1/sig", this.kid, this.m1Hash, bodyHash);
    this.prk = await extract(saltOf(this.psk), secret);
    const mac = await hmac(await agentKey(this.prk, this.kid, this.m1Hash, bodyHash), signature);
    const message = { body, sig: toBase64url(signature), mac: toBase64url(mac) };
    this.m2Hash = await hash(encode(message));
    return spell(message);
  }

  // M3: the customer holds the one-time secret, where there is one, and is who sent M1.
  async finish(message) {
    this.#steps.once("M3");
    const { value } = read(message, M3);
    if (value.call !== this.call) throw new Refused("wrong-call");
    const nonce = fromBase64url(value.nc);
    if (!same(await hash(nonce), fromBase64url(this.m1.nc_hash))) throw new Refused("commitment");
    const keys = await deriveKeys(this.prk, this.kid, this.m1Hash, this.m2Hash, nonce);
    if (!(await checkMac(keys.customer, fromBase64url(value.mac), keys.th))) throw new Refused("mac");
    const later = new Later({ call: this.call, policy: { ...POLICY }, own: this.fp, peer: this.m1.fp, out: keys.toCustomer, into: keys.toAgent });
    return { sas: keys.sas, later };
  }

  async #seal() {
    try {
      return await encapsulate(fromBase64url(this.m1.kem));
    } catch {
      throw new Refused("malformed");
    }
  }
}
