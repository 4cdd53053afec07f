// Messages after the handshake (docs/spec/private-call.md section 5): ICE restart, hold, resume, hang up. Each is numbered, MACed
// under its direction's key, and repeats fingerprint and policy; whatever does not fit throws `Refused`, and the call ends.

import { fromBase64url, fromText, same, toBase64url, toHex } from "./bytes.js";
import { decode, encode } from "./canonical.js";
import { checkMac, hash, hmac } from "./kdf.js";
import { Refused } from "./reasons.js";
import { checkSdp } from "./sdp.js";
import { anyObject, b64, fits, hex, is, oneOf, orNull, whole } from "./shape.js";

const TABLE = {
  v: is(1), call: b64(16), n: whole(1), kind: oneOf("offer", "answer", "please", "hold", "resume", "bye"), fp: hex(32),
  sdp_hash: orNull(b64(32)), policy: anyObject, re: orNull(whole(1)),
};
const WITH_SDP = ["offer", "answer"];

export class Later {
  #sent = 0;
  #seen = 0;
  #offers = new Set();

  // `own` and `peer` are the signed fingerprints (hex); `out` and `into` the keys of the two directions.
  constructor({ call, policy, own, peer, out, into }) {
    Object.assign(this, { call, policy, own, peer, out, into });
  }

  get received() {
    return this.#seen;
  }

  // `re` is the number of the offer that an answer answers.
  async make(kind, sdp = null, re = null) {
    const n = ++this.#sent;
    if (kind === "offer") this.#offers.add(n);
    const digest = sdp === null ? null : toBase64url(await hash(sdp));
    const bytes = encode({ v: 1, call: this.call, n, kind, fp: this.own, sdp_hash: digest, policy: this.policy, re });
    const mac = toBase64url(await hmac(this.out, await hash(bytes)));
    return { n, message: new TextDecoder().decode(bytes), mac, sdp };
  }

  // Returns what the peer asks for: { n, kind, sdp, re }.
  async open({ message, mac, sdp }) {
    const value = await this.#authenticate(message, mac);
    if (value.call !== this.call) throw new Refused("wrong-call");
    if (value.n !== this.#seen + 1) throw new Refused("replayed");
    this.#seen = value.n;
    if (value.fp !== this.peer) throw new Refused("fingerprint");
    if (!same(encode(value.policy), encode(this.policy))) throw new Refused("policy");
    const wanted = WITH_SDP.includes(value.kind);
    const fitting = wanted === (value.sdp_hash !== null) && wanted === (typeof sdp === "string") && (value.kind === "answer") === (value.re !== null);
    if (!fitting) throw new Refused("malformed");
    if (value.kind === "answer" && !this.#offers.delete(value.re)) throw new Refused("replayed");
    if (!wanted) return { n: value.n, kind: value.kind, sdp: null, re: null };
    if (!same(await hash(sdp), fromBase64url(value.sdp_hash))) throw new Refused("sdp-changed");
    if (toHex(checkSdp(sdp, value.kind)) !== this.peer) throw new Refused("fingerprint");
    return { n: value.n, kind: value.kind, sdp, re: value.re };
  }

  async #authenticate(message, mac) {
    let bytes, value, given;
    try {
      bytes = fromText(message);
      value = decode(bytes);
      given = fromBase64url(mac, 32);
    } catch {
      throw new Refused("malformed");
    }
    if (!(await checkMac(this.into, given, await hash(bytes)))) throw new Refused("mac");
    if (!fits(value, TABLE)) throw new Refused("malformed");
    return value;
  }
}
