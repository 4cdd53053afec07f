// One private call as staff have it: rung, answered, proved, spoken. docs/spec/private-call.md sections 5 and 8.
//
// 1. May this call be answered at all: our own invitation, unused, in time? 2. The newest proof of ourselves. 3. M1: verify, then
// answer. 4. The call is noted as used, then M2. 5. M3: the customer holds the secret. 6. The connection is to the certificate they
// signed for. 7. Both have answered: speak.

import { openMicrophone } from "/static/call/able.js";
import { Agent } from "/static/call/handshake.js";
import { Refused } from "/static/call/reasons.js";
import { Talk } from "/static/call/talk.js";
import { Voice } from "/static/call/voice.js";

const MESSAGE_MS = 12_000; // the server's own limits are shorter: these are for one that says nothing
const CUSTOMER_MS = 75_000;

export class PrivateCall {
  #over = false;
  #frames = Promise.resolve();
  #isTalking = false;
  #proven = false;
  #muted = false;

  // `send(frame)` to the server; `trust()` gives { kid, device, sign, manifest, proof }; `show(state, fields)`; `ended(reason)` once.
  constructor({ call, link, store, send, trust, show, ended, microphone }) {
    Object.assign(this, { call, link, store, trust, show, ended, microphone });
    this.send = (frame) => send({ ...frame, call });
  }

  async answer(now) {
    try {
      await this.#mayAnswer(now); // 1
      this.stream = await openMicrophone(this.microphone);
      this.identity = await this.trust(); // 2
      this.send({ type: "accept" });
      this.#waitFor(MESSAGE_MS, "no-offer");
      this.show("proving");
    } catch (error) {
      this.#fail(error);
    }
  }

  // End under this name unless something comes first.
  #waitFor(milliseconds, reason) {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => this.end(reason), milliseconds);
  }

  async #mayAnswer(now) {
    if (this.link !== "invitation") return;
    const invitation = await this.store.invitation(this.call);
    if (!invitation?.expires_at) throw new Refused("unknown-call");
    if (invitation.used) throw new Refused("used");
    if (Date.parse(invitation.expires_at) <= now) throw new Refused("expired");
  }

  take(frame) {
    this.#frames = this.#frames.then(async () => {
      if (this.#over) return;
      try {
        await this.#on(frame);
      } catch (error) {
        this.#fail(error);
      }
    });
    return this.#frames;
  }

  async #on(frame) {
    if (frame.type === "later" && this.talk) return void this.talk.take(frame);
    if (frame.type === "rejoined" && this.talk) return this.talk.sendAgain(frame.received);
    if (frame.type === "m1") return this.#reply(frame);
    if (frame.type === "m3") return this.#finish(frame);
    if (frame.type === "talking") {
      this.#isTalking = true;
      return this.#open();
    }
    return undefined;
  }

  async #reply({ message, sdp, ice, ticket }) {
    if (!this.identity) throw new Refused("replayed");
    if (!this.shake) {
      const psk = this.link === "invitation" ? await this.store.secretOf(this.call) : null;
      this.shake = new Agent({ ...this.identity, psk, call: this.call });
    }
    this.#waitFor(MESSAGE_MS, "no-proof");
    this.ticket = ticket;
    this.peer = await this.shake.receive(message, sdp); // 3
    this.voice = await Voice.create(ice);
    this.voice.mute(this.#muted);
    const answer = await this.voice.answer(sdp);
    if (!(await this.store.use(this.call))) throw new Refused("used"); // 4
    this.send({ type: "m2", message: await this.shake.reply(answer, this.voice.fingerprint), sdp: answer });
  }

  async #finish({ message }) {
    if (!this.voice) throw new Refused("replayed");
    const { sas, later } = await this.shake.finish(message); // 5
    this.talk = new Talk({
      voice: this.voice, later, fingerprint: this.peer, isCustomer: false, send: this.send,
      show: (state) => this.show(state), ended: (reason) => this.end(reason),
    });
    this.#waitFor(CUSTOMER_MS, "missed");
    this.show("waiting", { sas });
    await this.voice.prove(this.peer); // 6
    this.#proven = true;
    this.send({ type: "connected" });
    await this.#open();
  }

  async #open() {
    if (!this.#isTalking || !this.#proven || this.began || this.#over) return;
    clearTimeout(this.silence);
    this.began = performance.now();
    await this.voice.open(this.stream); // 7
    this.talk.begin();
  }

  mute(value) {
    this.#muted = value;
    this.voice?.mute(value);
  }

  rejoin() {
    if (this.talk) this.send({ type: "rejoin", side: "staff", ticket: this.ticket, seen: this.talk.received });
  }

  async change(device) {
    const stream = await openMicrophone(device);
    await this.voice?.use(stream);
    for (const track of this.stream.getTracks()) track.stop();
    this.stream = stream;
  }

  #fail(error) {
    this.end(error instanceof Refused ? error.reason : "server");
  }

  end(reason, tells = true) {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.silence);
    if (tells) this.send({ type: "end", reason });
    this.talk?.end(reason);
    this.voice?.close();
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.ended(reason);
  }
}
