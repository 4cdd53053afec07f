// The staff's page of private calls: one tab, this browser's key, new links, ringing, speaking. The call itself: private_call.js.

import { get, post } from "./api.js";
import { find, ready, say, showLength, showMoment, whileBusy } from "./page.js";
import { PrivateCall } from "./private_call.js";
import { alone, enrolDevice, findStanding } from "./private_device.js";
import { showDevices } from "./private_devices.js";
import { openStore } from "./private_store.js";
import { Ring } from "./private_ring.js";
import { listMicrophones } from "/static/call/able.js";
import { toBase64url } from "/static/call/bytes.js";
import { spellInvitation } from "/static/call/link.js";
import { drawQr } from "/static/call/qr.js";
import { known, outcomeOf, TITLES, wordsOf } from "/static/call/reasons.js";
import { fillIn, offerMicrophones, onPress, showTime } from "/static/call/screen.js";
import { Signal, socketUrl } from "/static/call/signal.js";

const LIFE_MS = 30_000;
const LOOK_MS = 5000;
const RENEW_MS = 3 * 24 * 3600_000;
const KEPT_AFTER_MS = [0, 1000, 5000]; // the server writes down that a call was once it is over
const TALKING = {
  proving: "Proving to each other who you are …",
  waiting: "The customer sees who you are, and answers …",
  talking: "You are speaking.",
  held: "On hold: they hear nothing, and nor do you.",
  "peer-held": "They have put you on hold. They hear nothing.",
  interrupted: "The connection is interrupted. Trying again …",
};

const message = find("#message");
const place = find("#private");
const store = await openStore();
const ring = new Ring();
const ringing = new Map(); // call id → its ring frame
let standing = null; // who we are: { state, kid, device, manifest, proof, body }
let signal = null;
let beat = 0;
let call = null;
let microphone = "";
let clock = 0;

const showOnly = (...ids) => {
  for (const id of ["elsewhere", "no-manifest", "pin", "enrol", "pending", "ready", "invitations"]) find(`#${id}`).hidden = !ids.includes(id);
};

async function look() {
  standing = await findStanding(store, Date.now());
  fillIn({ kid: standing.kid ?? "", role: standing.device?.entry?.role ?? "", until: showMoment(standing.device?.entry?.not_after) });
  const shown = { later: [], "no-manifest": ["no-manifest"], pin: ["pin"], enrol: ["enrol"], pending: ["pending"], ready: ["ready", "invitations"] };
  showOnly(...shown[standing.state]);
  if (standing.state === "no-manifest" && standing.wantsDevice) showOnly("no-manifest", "enrol");
  if (standing.state === "later") say(message, standing.words);
  else if (standing.why) say(message, `${TITLES.identity}: ${wordsOf(standing.why)} (${standing.why})`, "bad");
  if (standing.state === "ready") {
    connect();
    const ends = Date.parse(standing.device.entry.not_after) - Date.now() < RENEW_MS;
    find("#renew").hidden = !ends || Boolean(standing.next);
    find("#renewing").hidden = !standing.next;
    await showInvitations();
  } else if (["pending", "no-manifest", "later"].includes(standing.state)) setTimeout(() => look().catch(complain), LOOK_MS);
}

const complain = (error) => say(message, error.message, "bad");

// The line on which calls come.
function connect() {
  if (signal) return;
  signal = new Signal(socketUrl(location.origin, "/private/signal"), { receive, hello, gone: () => {} });
  signal.keep(true);
  beat = setInterval(() => signal.send({ type: "ready", device: standing.device.key }), LIFE_MS);
}

function hello() {
  signal.send({ type: "ready", device: standing.device.key });
  call?.rejoin();
}

function receive(frame) {
  if (frame.type === "welcome") return welcome(frame);
  if (frame.type === "ring") return showRing(frame);
  if (frame.type === "stop" || (frame.type === "end" && ringing.has(frame.call))) return stopRing(frame.call);
  if (frame.call !== call?.call) return undefined;
  return frame.type === "end" ? call.end(known(frame.reason), false) : call.take(frame);
}

function welcome({ kept }) {
  say(find("#line"), "Ready. This page rings when a customer opens your link and calls.", "good");
  const kind = { when: "when it was", how_long: "how long", who: "who of us spoke", outcome: "how it ended" };
  const what = (kept?.what ?? []).map((item) => kind[item]).filter(Boolean);
  fillIn({ kept: what.length ? `Kept for ${kept.days} days, then deleted: ${what.join(", ")}. Never what was said, nor to whom.` : "Nothing is kept." });
}

async function showRing(frame) {
  ringing.set(frame.call, frame);
  if (call) return;
  const invitation = await store.invitation(frame.call);
  const words = invitation ? `By your link of ${showMoment(invitation.made_at)}.` : "By the public link: anybody may call on it.";
  fillIn({ caller: frame.link === "invitation" && !invitation ? "By a link that another browser of yours made; it is answered there." : words });
  find("#ring").hidden = false;
  find('[data-do="answer"]').dataset.call = frame.call;
  find("#ring h2").focus();
  ring.start("A customer is calling");
}

function stopRing(id) {
  ringing.delete(id);
  if (find('[data-do="answer"]').dataset.call !== id) return;
  find("#ring").hidden = true;
  ring.stop();
  const [next] = ringing.values();
  if (next) showRing(next);
}

async function answer() {
  const frame = ringing.get(find('[data-do="answer"]').dataset.call);
  if (!frame || call) return;
  stopRing(frame.call);
  for (const id of ["over", "link-card"]) find(`#${id}`).hidden = true;
  call = new PrivateCall({
    call: frame.call, link: frame.link, store, microphone, send: (item) => signal.send(item), trust: renewProof,
    show: showTalk, ended: finish,
  });
  find("#talk").hidden = false;
  find("#talk h2").focus();
  find("#compare").hidden = frame.link === "invitation";
  for (const name of ["mute", "hold"]) find(`[data-do="${name}"]`).setAttribute("aria-pressed", "false");
  await call.answer(Date.now());
  offerMicrophones(await listMicrophones(), microphone, (id) => {
    microphone = id;
    call?.change(id);
  });
}

// The newest proof of ourselves, checked as a customer will check it.
async function renewProof() {
  standing = await findStanding(store, Date.now());
  const { kidBytes, device, manifest, proof } = standing;
  if (standing.state !== "ready") throw new Error("not ready");
  return { kid: kidBytes, device: device.entry, sign: device.sign, manifest, proof };
}

function showTalk(state, fields = {}) {
  fillIn(fields);
  say(find("#talk-words"), TALKING[state]);
  if (state !== "talking" || clock) return;
  const began = performance.now();
  clock = setInterval(() => fillIn({ time: showTime(performance.now() - began) }), 500);
}

function finish(reason) {
  clearInterval(clock);
  clock = 0;
  call = null;
  find("#talk").hidden = true;
  find("#over").hidden = false;
  const over = find("#over");
  [over.dataset.reason, over.dataset.outcome] = [reason, outcomeOf(reason)];
  fillIn({ title: TITLES[outcomeOf(reason)], words: reason === "bye" ? "Nothing was recorded." : wordsOf(reason), code: reason === "bye" ? "" : `Reason: ${reason}`, time: "" });
  find("#over h2").focus();
  showInvitations().catch(complain);
  for (const wait of KEPT_AFTER_MS) setTimeout(() => showCalls().catch(complain), wait);
}

async function showInvitations() {
  const open = await store.invitations(Date.now());
  find("#no-invitations").hidden = open.length > 0;
  find("#invitation-list").replaceChildren(...open.map(drawInvitation));
}

function drawInvitation(invitation) {
  const item = document.createElement("li");
  const button = Object.assign(document.createElement("button"), { className: "quiet", textContent: "Show" });
  button.setAttribute("aria-label", `Show the link made ${showMoment(invitation.made_at)}`);
  button.addEventListener("click", () => whileBusy(button, message, () => showLink(invitation)));
  item.append(`Made ${showMoment(invitation.made_at)}, until ${showMoment(invitation.expires_at)} `, button);
  return item;
}

async function showLink(invitation) {
  const link = spellInvitation(place.dataset.pageOrigin, standing.kid, toBase64url(await store.secretOf(invitation.call)), invitation.call);
  find("#link").textContent = link;
  drawQr(find("#link-qr"), link);
  fillIn({ expires: showMoment(invitation.expires_at) });
  find("#link-card").hidden = false;
  find("#link-card h2").focus();
}

async function showCalls() {
  const { calls } = await get("/api/private/calls");
  find("#no-calls").hidden = calls.length > 0;
  find("#private-calls").hidden = calls.length === 0;
  find("#private-calls tbody").replaceChildren(
    ...calls.map((item) => {
      const row = document.createElement("tr");
      const cells = [showMoment(item.at), item.who, showLength(item.length_ms), TITLES[item.outcome] ?? item.outcome];
      row.append(...cells.map((text) => Object.assign(document.createElement("td"), { textContent: text ?? "–" })));
      return row;
    }),
  );
}

const press = (button) => {
  const pressed = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(pressed));
  return pressed;
};

onPress(
  {
    "take-over": () => start(true),
    renew: async () => {
      say(message, "Touch your passkey. It signs this browser's next key, and nothing else.");
      await enrolDevice(store, standing.device.entry.role);
      say(message, "");
      await look();
      await showDevices();
    },
    pin: async () => {
      await store.put("pin", { kid: standing.kid, sequence: standing.body.sequence });
      await look();
    },
    copy: async () => {
      await navigator.clipboard.writeText(find("#link").textContent);
      say(message, "Copied. Send it from your own mail.", "good");
    },
    print: () => print(),
    "hide-link": () => (find("#link-card").hidden = true),
    answer,
    decline: () => {
      const { call: id } = find('[data-do="answer"]').dataset;
      signal.send({ type: "decline", call: id });
      stopRing(id);
    },
    mute: (button) => call?.mute(press(button)),
    hold: (button) => call?.began && call.talk.hold(press(button)),
    "hang-up": () => (call?.began ? call.talk.hangUp() : call?.end("left")),
  },
  complain,
);

find("#enrol-form").addEventListener("submit", (event) => {
  event.preventDefault();
  whileBusy(find("#enrol-form button"), message, async () => {
    say(message, "Touch your passkey. It signs this browser's key, and nothing else.");
    await enrolDevice(store, new FormData(event.target).get("role").trim());
    say(message, "");
    await look();
    await showDevices();
  });
});

find("#new-form").addEventListener("submit", (event) => {
  event.preventDefault();
  whileBusy(find("#new-form button"), message, async () => {
    const now = Date.now();
    const expires = new Date(now + Number(new FormData(event.target).get("hours")) * 3600_000).toISOString();
    const invitation = await store.invite(expires, new Date(now).toISOString());
    await post("/api/private/invitations", { call: invitation.call, expires_at: expires });
    say(message, "");
    await showLink(invitation);
    await showInvitations();
  });
});

async function start(steal) {
  showOnly();
  const line = await alone(steal);
  if (line === null) return showOnly("elsewhere");
  line.lost.then(() => {
    clearInterval(beat);
    signal?.close();
    signal = null;
    showOnly("elsewhere");
  });
  await look();
  await showDevices();
  return showCalls();
}

addEventListener("pagehide", () => call?.end("left"));
ready();
await start(false).catch(complain);
