// The panel "Recording now": what each worker costs and loses since the last look, and how far each live call is sealed.

import { find, showLength, showMoment } from "./page.js";

const cell = (text, tone) => {
  const made = Object.assign(document.createElement("td"), { textContent: text ?? "–" });
  if (tone) made.dataset.tone = tone;
  return made;
};
const seconds = (milliseconds) => `${(milliseconds / 1000).toFixed(milliseconds < 9950 ? 1 : 0)} s`;
const behind = (milliseconds, isBehind) => `${seconds(milliseconds)} ago${isBehind ? ": behind" : ""}`;
const size = (bytes) => (bytes < 1 << 20 ? `${Math.ceil(bytes / 1024)} KiB` : `${(bytes / (1 << 20)).toFixed(1)} MiB`);
const count = (number, noun) => `${number.toLocaleString("en-GB")} ${noun}${number === 1 ? "" : "s"}`;

let lastLook = new Map();

// What a worker did between its last account that we saw and this one; null on the first look, and after its restart.
function since(before, now) {
  if (!before || before.pid !== now.pid) return null;
  const passed = (Date.parse(now.at) - Date.parse(before.at)) / 1000;
  if (passed <= 0) return before.since ?? null;
  const [packets, lost] = [now.packets - before.packets, now.lost - before.lost];
  return {
    processor: (100 * (now.cpu_seconds - before.cpu_seconds)) / passed,
    lostShare: packets + lost > 0 ? (100 * lost) / (packets + lost) : 0,
    lost,
    failed: now.failed - before.failed,
  };
}

function drawWorker(worker) {
  const found = worker.since;
  const row = document.createElement("tr");
  const name = Object.assign(document.createElement("th"), { scope: "row", textContent: worker.worker });
  const waiting = worker.spool_failing ? `${size(worker.spool_waiting_bytes)}: the disk takes no more` : size(worker.spool_waiting_bytes);
  const age = worker.is_silent ? `; not heard of for ${seconds(worker.age_ms)}` : "";
  row.append(
    name,
    worker.lag_ms === null ? cell("no call") : cell(behind(worker.lag_ms, worker.is_behind), worker.is_behind ? "bad" : "good"),
    cell((found ? `${found.processor.toFixed(1)} %` : "–") + age, worker.is_silent ? "bad" : ""),
    cell(size(worker.memory_bytes) + (worker.memory_locked ? "" : ", may be swapped")),
    cell(worker.recordings.toLocaleString("en-GB")),
    cell(worker.streams.toLocaleString("en-GB")),
    cell(found ? `${found.lostShare.toFixed(2)} % (${found.lost.toLocaleString("en-GB")})` : "–"),
    cell(found ? found.failed.toLocaleString("en-GB") : "–"),
    cell(waiting, worker.spool_failing ? "bad" : ""),
  );
  return row;
}

function drawCall(call) {
  const row = document.createElement("tr");
  const first = document.createElement("th");
  first.scope = "row";
  const words = call.started_at ? showMoment(call.started_at) : `call ${call.recording.slice(0, 8)}`;
  first.append(Object.assign(document.createElement("a"), { href: `/calls/${call.recording}`, textContent: words }));
  row.append(
    first,
    call.lag_ms === null ? cell("–") : cell(behind(call.lag_ms, call.is_behind), call.is_behind ? "bad" : "good"),
    cell(showLength(call.sealed_through_ms)),
    cell(call.peer),
    cell(call.worker ?? "none has it now"),
  );
  return row;
}

function inWords({ workers, calls, unreadable }) {
  if (unreadable.length) return `The account of ${unreadable.join(", ")} cannot be read.`;
  const late = workers.filter((worker) => worker.recordings && worker.is_behind).map((worker) => worker.worker);
  if (late.length) return `Calls of ${late.join(", ")} are sealed late. They go on, and what was said waits for the disk.`;
  const live = workers.reduce((sum, worker) => sum + worker.recordings, 0);
  return live ? `${count(live, "call")} on ${count(workers.length, "worker")}, all sealed to within 3 seconds.` : "No call is being recorded.";
}

// Draw what `/api/health` says of the recorders. The words change only where they say something new, for whoever hears them.
export function drawRecorders(recorders) {
  for (const worker of recorders.workers) worker.since = since(lastLook.get(worker.worker), worker);
  lastLook = new Map(recorders.workers.map((worker) => [worker.worker, worker]));
  find("#workers tbody").replaceChildren(...recorders.workers.map(drawWorker));
  find("#no-workers").hidden = recorders.workers.length > 0;
  const focused = document.activeElement?.closest("#live-calls a")?.getAttribute("href");
  find("#live-calls tbody").replaceChildren(...recorders.calls.map(drawCall));
  if (focused) find(`#live-calls a[href="${focused}"]`)?.focus();
  find("#no-live").hidden = recorders.calls.length > 0;
  find("#more-live").hidden = recorders.more === 0;
  find("#more-live").textContent = `${count(recorders.more, "more call")} that ${recorders.more === 1 ? "is" : "are"} sealed further.`;
  const words = inWords(recorders);
  const bad = recorders.unreadable.length > 0 || recorders.workers.some((worker) => worker.recordings && worker.is_behind);
  find("#recording-words").dataset.tone = bad ? "bad" : "plain";
  if (find("#recording-words").textContent !== words) find("#recording-words").textContent = words;
}
