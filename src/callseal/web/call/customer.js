// The customer's page: link, check, call, answer, talk, over. docs/spec/private-call.md has the messages; this file has the order.
//
// 1. Take the fragment out of the address. 2. Can this browser do it? 3. Who does the link name? 4. Ask for the microphone and
// join. 5. M1. 6. M2: verify, M3, and prove the connection, all of it silent. 7. The customer answers. 8. Both speak.

import { toBase64url } from "./bytes.js";
import { findMissing, listMicrophones, openMicrophone } from "./able.js";
import { Customer } from "./handshake.js";
import { random } from "./kdf.js";
import { Level } from "./level.js";
import { parseFragment, takeFragment } from "./link.js";
import { known, outcomeOf, Refused, TITLES, wordsOf } from "./reasons.js";
import { announce, fillIn, find, offerMicrophones, onPress, show, showTime } from "./screen.js";
import { Signal, socketUrl } from "./signal.js";
import { Talk } from "./talk.js";
import { checkProofShape, checkTrust } from "./trust.js";
import { Voice } from "./voice.js";

const HELLO_MS = 8000;
const AGAIN_MS = 1000;
const RING_MS = 60_000; // the server's own limits are shorter: these are for one that says nothing
const ANSWER_MS = 12_000;
const KEPT = { when: "when it was", how_long: "how long it took", who: "who of the business spoke", outcome: "how it ended" };
const TALKING = {
  talking: "You are speaking.",
  held: "On hold: they hear nothing, and nor do you.",
  "peer-held": "They have put you on hold. They hear nothing.",
  interrupted: "The connection is interrupted. Trying again …",
};

const fragment = takeFragment(); // 1: before anything else
const host = find('meta[name="callseal-signalling"]').content || location.origin;

let link = null;
let business = null; // the manifest's members, once they may be believed
let device = ""; // the microphone that was chosen
let seen = 0;
let call = null;

class Call {
  #over = false;
  #frames = Promise.resolve();
  #answered = false;
  #isProven = false;

  constructor() {
    this.id = link.call ?? toBase64url(random(16));
  }

  async start() {
    this.stream = await openMicrophone(device); // 4
    for (const track of this.stream.getAudioTracks()) track.addEventListener("ended", () => this.end("no-microphone"));
    this.#waitFor(HELLO_MS, "server");
    this.signal = new Signal(socketUrl(host, "/signal"), {
      receive: (frame) => this.#inOrder(frame),
      hello: () => this.#hello(),
      gone: () => this.end("server"),
    });
  }

  // End under this name unless something comes first.
  #waitFor(milliseconds, reason) {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => this.end(reason), milliseconds);
  }

  #hello() {
    if (!this.talk) this.signal.send({ type: "join", call: this.id, link: link.psk ? "invitation" : "public" });
    else this.signal.send({ type: "rejoin", call: this.id, side: "customer", ticket: this.ticket, seen: this.talk.received });
  }

  #inOrder(frame) {
    this.#frames = this.#frames.then(async () => {
      if (this.#over) return;
      try {
        await this.#take(frame);
      } catch (error) {
        this.end(error instanceof Refused ? error.reason : "server");
      }
    });
  }

  async #take(frame) {
    if (frame.type === "end") return this.end(known(frame.reason), false);
    if (frame.type === "later" && this.talk) return void this.talk.take(frame);
    if (frame.type === "rejoined" && this.talk) return this.talk.sendAgain(frame.received);
    if (frame.type === "room") return this.#begin(frame);
    if (frame.type === "ringing") return announce("It is ringing.");
    if (frame.type === "accepted") {
      this.#waitFor(ANSWER_MS, "no-answer");
      return announce("Somebody has answered. Checking who it is.");
    }
    if (frame.type === "m2") return this.#verify(frame);
    if (frame.type === "talking") return this.#open();
    return undefined;
  }

  async #begin({ ice, kept, ticket }) {
    if (this.voice) throw new Refused("replayed");
    this.#waitFor(RING_MS, "missed");
    this.ticket = ticket;
    fillIn({ kept: sayKept(kept) });
    this.voice = await Voice.create(ice);
    this.shake = new Customer({ kid: link.kid, psk: link.psk, call: this.id });
    const sdp = await this.voice.offer();
    this.signal.send({ type: "m1", message: await this.shake.begin(sdp, this.voice.fingerprint), sdp }); // 5
  }

  async #verify({ message, sdp }) {
    if (!this.shake) throw new Refused("replayed");
    clearTimeout(this.silence);
    const found = await this.shake.verify(message, sdp, Date.now(), seen); // 6
    seen = found.manifest.sequence;
    business = found.manifest;
    fillIn({ business: business.business, role: found.device.role, sas: found.sas });
    showPhone();
    await this.voice.accept(sdp);
    this.signal.send({ type: "m3", message: found.m3 });
    this.talk = new Talk({
      voice: this.voice, later: found.later, fingerprint: found.fp, isCustomer: true,
      send: (frame) => this.signal.send(frame),
      show: (state) => sayTalking(state),
      ended: (reason) => this.end(reason),
    });
    this.#prove(found.fp);
    find("#compare").hidden = link.psk !== null;
    show("answer", `${found.device.role} at ${business.business} is there. Not recorded. Answer, or decline.`);
  }

  // In its own time, for frames come meanwhile.
  async #prove(fingerprint) {
    try {
      await this.voice.prove(fingerprint);
      this.#isProven = true;
      await this.#connected();
    } catch (error) {
      this.end(error instanceof Refused ? error.reason : "no-media");
    }
  }

  async answer() {
    this.#answered = true; // 7
    show("talk", "Connecting.");
    await this.#connected();
  }

  // Both conditions of ours hold: we answered, and the connection is to the one who was verified.
  async #connected() {
    if (!this.#answered || !this.#isProven || this.#over) return;
    this.#waitFor(HELLO_MS, "no-media");
    this.signal.send({ type: "connected" });
  }

  async #open() {
    if (!this.#answered || !this.#isProven) throw new Refused("replayed");
    if (this.began) return;
    clearTimeout(this.silence);
    this.began = performance.now();
    await this.voice.open(this.stream); // 8
    this.signal.keep(true);
    this.talk.begin();
    this.clock = setInterval(() => fillIn({ time: showTime(performance.now() - this.began) }), 500);
  }

  mute(value) {
    this.voice.mute(value);
  }

  async change(id) {
    device = id;
    const stream = await openMicrophone(id);
    await this.voice?.use(stream);
    for (const track of this.stream.getTracks()) track.stop();
    this.stream = stream;
  }

  // Over, once: `tells` the server why, unless it was the server that said so.
  end(reason, tells = true) {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.silence);
    clearInterval(this.clock);
    if (tells) this.signal?.send({ type: "end", reason });
    this.signal?.close();
    this.talk?.end(reason);
    this.voice?.close();
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    call = null;
    finish(reason);
  }
}

function finish(reason) {
  const outcome = outcomeOf(reason);
  const section = find('section[data-state="over"]');
  section.dataset.outcome = outcome;
  section.dataset.reason = reason;
  fillIn({ title: TITLES[outcome], words: wordsOf(reason), code: reason === "bye" ? "" : `Reason: ${reason}` });
  const again = ["missed", "busy"].includes(outcome) || ["no-media", "no-relay", "no-microphone", "server", "too-many", "no-answer"].includes(reason);
  find('[data-do="again"]').hidden = !(again && business);
  find("#by-phone").hidden = !business?.phone || reason === "bye";
  show("over", `${TITLES[outcome]}. ${wordsOf(reason)}`);
}

function sayTalking(state) {
  find("#talk-words").textContent = TALKING[state];
  announce(TALKING[state]);
}

function sayKept(kept) {
  const what = (kept?.what ?? []).map((item) => KEPT[item]).filter(Boolean);
  if (!what.length || !kept.days) return "Nothing about this call is kept.";
  return `The business keeps for ${kept.days} ${kept.days === 1 ? "day" : "days"}: ${what.join(", ")}. Nothing of what is said.`;
}

function showPhone() {
  const anchor = find('[data-field="phone"]');
  anchor.textContent = business.phone;
  anchor.href = `tel:${business.phone.replaceAll(" ", "")}`;
  find("#by-phone").hidden = !business.phone;
}

async function welcome() {
  const missing = await findMissing(); // 2
  if (missing.length) {
    console.info(`missing: ${missing.join(", ")}`);
    throw new Refused("no-browser");
  }
  link = parseFragment(fragment);
  if (link === null) return show("incomplete", "This link is not whole.");
  const { manifest, proof } = await fetchManifest(); // 3
  business = await checkTrust(manifest, proof, link.kid, Date.now());
  seen = business.sequence;
  fillIn({ business: business.business });
  showPhone();
  return show("welcome", `${business.business}. Confirmed. Not recorded. Press Call when you are ready.`);
}

// Asked again for a few seconds: just after a new list was signed, its witness has still to see it.
async function fetchManifest() {
  const end = performance.now() + HELLO_MS;
  for (;;) {
    try {
      return await askManifest(end - performance.now());
    } catch (error) {
      if (error instanceof Refused) throw error;
      if (performance.now() + AGAIN_MS > end) throw new Refused("server");
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }
}

async function askManifest(milliseconds) {
  const response = await fetch(`${host}/manifest`, {
    credentials: "omit", cache: "no-store", referrerPolicy: "no-referrer", signal: AbortSignal.timeout(Math.max(0, milliseconds)),
  });
  if (!response.ok) throw new RangeError(`status ${response.status}`);
  const answer = await response.json();
  if (typeof answer?.manifest !== "string" || !checkProofShape(answer.proof)) throw new Refused("malformed");
  return answer;
}

async function tryMicrophone() {
  const stream = await openMicrophone(device);
  offerMicrophones(await listMicrophones(), stream.getAudioTracks()[0].getSettings().deviceId, (id) => (device = id));
  let loudest = 0;
  await new Promise((resolve) => {
    const level = new Level(stream, (loud) => {
      find("#level").value = loud;
      loudest = Math.max(loudest, loud);
    });
    setTimeout(() => {
      level.close();
      resolve();
    }, 3000);
  });
  for (const track of stream.getTracks()) track.stop();
  find("#heard").textContent = loudest > 0.02 ? "Your microphone works: it heard you." : "Nothing was heard. Is it muted, or is another one meant?";
}

async function startCall() {
  if (call) return;
  call = new Call();
  for (const name of ["mute", "hold"]) find(`[data-do="${name}"]`).setAttribute("aria-pressed", "false");
  show("ringing", "Calling.");
  await call.start();
  offerMicrophones(await listMicrophones(), device, (id) => call?.change(id));
}

function toggle(button) {
  const pressed = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(pressed));
  return pressed;
}

const failed = (error) => {
  const reason = error instanceof Refused ? error.reason : "server";
  if (call) call.end(reason);
  else finish(reason);
};

onPress(
  {
    call: startCall,
    again: startCall,
    check: () => tryMicrophone().catch((error) => (find("#heard").textContent = wordsOf(error.reason))),
    stop: () => call?.end("left"),
    answer: () => call?.answer(),
    decline: () => call?.end("declined"),
    mute: (button) => call?.mute(toggle(button)),
    hold: (button) => call?.began && call.talk.hold(toggle(button)),
    "hang-up": () => (call?.began ? call.talk.hangUp() : call?.end("left")),
  },
  failed,
);

addEventListener("pagehide", () => call?.end("left"));
addEventListener("hashchange", () => {
  if (location.hash && !call) location.reload();
});

welcome().catch(failed);
