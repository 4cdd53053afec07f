// A call after its handshake, the same on both sides: hold, resume, hang up, a network that changes, and how it ends.
//
// Invariants: only the customer offers a restart, so that two never cross; each later message is taken in its order; the first that
// does not fit ends the call, and so does a certificate that is not the signed one.

import { Refused } from "./reasons.js";

const STALLED_MS = 900;
const PATIENCE_MS = 2500;
const LOST_MS = 20_000;

export class Talk {
  #sent = [];
  #queue = Promise.resolve();
  #offered = null; // the number of our newest offer, until it is answered
  #asked = -Infinity; // when a restart was last asked for
  #over = false;
  #stalled = false;

  // `send(frame)` to the server; `show(state)` one of talking, held, peer-held, interrupted; `ended(reason)` once.
  constructor({ voice, later, fingerprint, isCustomer, send, show, ended }) {
    Object.assign(this, { voice, later, fingerprint, isCustomer, send, show, ended });
    this.held = false;
    this.peerHeld = false;
  }

  // The sound has begun.
  begin() {
    this.voice.watch((silentMs) => this.#look(silentMs));
    this.change = () => this.#restart();
    navigator.connection?.addEventListener("change", this.change);
    addEventListener("online", this.change);
    this.#say();
  }

  get received() {
    return this.later.received;
  }

  // Sent again after the socket was lost: what the server has not had.
  sendAgain(received) {
    for (const { n, ...rest } of this.#sent) if (n > received) this.send({ type: "later", ...rest });
  }

  take(frame) {
    return this.#inOrder(async () => {
      await this.#on(await this.later.open(frame));
    });
  }

  hold(value) {
    return this.#inOrder(async () => {
      if (value === this.held) return;
      await (value ? this.voice.hold() : this.voice.resume());
      this.held = value;
      await this.#tell(value ? "hold" : "resume");
      this.#say();
    });
  }

  hangUp() {
    return this.#inOrder(async () => {
      await this.#tell("bye");
      this.end("bye");
    });
  }

  end(reason) {
    if (this.#over) return;
    this.#over = true;
    removeEventListener("online", this.change);
    navigator.connection?.removeEventListener("change", this.change);
    this.voice.close();
    this.ended(reason);
  }

  async #on({ n, kind, sdp, re }) {
    if (kind === "bye") return this.end("bye");
    if (kind === "hold" || kind === "resume") {
      this.peerHeld = kind === "hold";
      return this.#say();
    }
    if (kind === "please") return this.isCustomer ? this.#offer() : this.#misplaced();
    if (kind === "offer") {
      if (this.isCustomer) this.#misplaced();
      await this.#tell("answer", await this.voice.answer(sdp), n);
      return this.voice.prove(this.fingerprint);
    }
    if (!this.isCustomer) this.#misplaced();
    if (re !== this.#offered) return undefined; // an answer to an offer that a newer one replaced
    this.#offered = null;
    await this.voice.accept(sdp);
    return this.voice.prove(this.fingerprint);
  }

  #misplaced() {
    throw new Refused("replayed", "a message out of its place");
  }

  #restart() {
    if (this.#over || performance.now() - this.#asked < PATIENCE_MS) return;
    this.#asked = performance.now();
    this.#inOrder(() => (this.isCustomer ? this.#offer() : this.#tell("please")));
  }

  async #offer() {
    this.#asked = performance.now();
    this.#offered = await this.#tell("offer", await this.voice.offer(true));
  }

  #look(silentMs) {
    if (silentMs > LOST_MS) return this.end("lost");
    if (silentMs > STALLED_MS) this.#restart();
    if (silentMs > STALLED_MS !== this.#stalled) {
      this.#stalled = !this.#stalled;
      this.#say();
    }
    return undefined;
  }

  #say() {
    if (this.#over) return;
    this.show(this.#stalled ? "interrupted" : this.held ? "held" : this.peerHeld ? "peer-held" : "talking");
  }

  async #tell(kind, sdp = null, re = null) {
    const made = await this.later.make(kind, sdp, re);
    this.#sent.push(made);
    const { n, ...rest } = made;
    this.send({ type: "later", ...rest });
    return n;
  }

  #inOrder(work) {
    this.#queue = this.#queue.then(async () => {
      if (this.#over) return;
      try {
        await work();
      } catch (error) {
        if (error instanceof Refused && error.reason === "no-relay") return; // no relay yet: tried again while it stalls
        this.end(error instanceof Refused ? error.reason : "server");
      }
    });
    return this.#queue;
  }
}
