// The list of calls, as they happen. The server says what each call is; this file only draws it.

import { get, post } from "./api.js";
import { fill, find, findAll, ready, say, sayLength, showLength, showMoment, whileBusy } from "./page.js";

ready();

const list = find("#calls");
const template = find("#call-template");
const legTemplate = find("#leg-template");
const message = find("#message");
const filters = find("#filters");
const search = find("#search");
const more = find("#more");

let calls = new Map();
let found = null; // the recordings that a search by number named, or null

function matches(call) {
  const { state, text } = Object.fromEntries(new FormData(filters));
  if (found !== null && !found.has(call.recording)) return false;
  if (state && call.state !== state) return false;
  const words = text.trim().toLowerCase();
  return !words || `${call.peer} ${call.class} ${call.recording}`.toLowerCase().includes(words);
}

function draw() {
  const shown = [...calls.values()].filter(matches).sort((a, b) => (a.started_at < b.started_at ? 1 : -1));
  const present = new Map(findAll(":scope > li", list).map((item) => [item.dataset.recording, item]));
  const items = shown.map((call) => update(present.get(call.recording) ?? drawNew(call), call));
  list.replaceChildren(...items);
  find("#none").hidden = shown.length > 0;
  find("#none-words").textContent = calls.size === 0 ? "No calls yet. They appear here as they happen." : "No call fits.";
}

function drawNew(call) {
  const item = fill(template, {});
  item.dataset.recording = call.recording;
  const link = find("a", item);
  link.href = `/calls/${call.recording}`;
  return item;
}

function update(item, call) {
  const version = JSON.stringify(call);
  if (item.dataset.version === version) return item;
  item.dataset.version = version;
  item.dataset.state = call.state;
  find("[data-field=started]", item).textContent = showMoment(call.started_at);
  find("[data-field=peer]", item).textContent = call.peer;
  find("[data-field=class]", item).textContent = call.class;
  find("[data-field=state]", item).textContent = call.state_words;
  find("[data-field=length]", item).textContent = showLength(call.length_ms);
  find("[data-field=length-words]", item).textContent = call.length_ms === null ? "length not known" : sayLength(call.length_ms);
  find("[data-field=notes]", item).textContent = call.notes.join(" · ");
  find(".legs", item).replaceChildren(
    ...call.legs.map((leg) => {
      const row = fill(legTemplate, { party: leg.party_words, words: `${leg.far}; feed ${leg.near}` });
      for (const half of ["far", "near"]) find(`[data-half=${half}]`, row).dataset.protection = leg[`${half}_key`];
      return row;
    }),
  );
  return item;
}

async function load() {
  const before = [...calls.values()].map((call) => call.started_at).sort()[0];
  const answer = await get(`/api/calls${before ? `?before=${encodeURIComponent(before)}` : ""}`);
  for (const call of answer.calls) calls.set(call.recording, call);
  more.hidden = !answer.more;
  draw();
}

function watch() {
  const feed = new EventSource("/api/calls/live");
  const light = find("#live");
  feed.addEventListener("open", () => say(light, "Live: this page follows calls as they happen.", "good"));
  feed.addEventListener("error", () => say(light, "Not live at the moment; trying again.", "bad"));
  feed.addEventListener("calls", (event) => {
    for (const call of JSON.parse(event.data)) calls.set(call.recording, call);
    draw();
  });
  feed.addEventListener("ended", () => {
    feed.close();
    location.assign("/signin?next=/calls");
  });
  addEventListener("pagehide", () => feed.close());
}

filters.addEventListener("input", draw);
filters.addEventListener("submit", (event) => event.preventDefault());
more.addEventListener("click", () => whileBusy(more, message, load));

search.addEventListener("submit", (event) => {
  event.preventDefault();
  whileBusy(find("button", search), message, async () => {
    const value = new FormData(search).get("value").trim();
    if (!value) {
      found = null;
      say(message, "");
    } else {
      const answer = await post("/api/calls/search", { value });
      for (const call of answer.calls) calls.set(call.recording, call);
      found = new Set(answer.calls.map((call) => call.recording));
      say(message, found.size === 1 ? "One call with this number." : `${found.size} calls with this number.`);
    }
    draw();
  });
});

find("#clear-search").addEventListener("click", () => {
  search.reset();
  found = null;
  say(message, "");
  draw();
});

await load().catch((error) => say(message, error.message, "bad"));
watch();
