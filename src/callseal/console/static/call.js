// One call: asking to open it, playing it, who opened it, whether it is unchanged.

import { get, post } from "./api.js";
import { find, ready, say, showLength, showMoment, whileBusy } from "./page.js";
import { usePasskey } from "./passkey.js";
import { Player } from "./player.js";
import { showReport } from "./report.js";

ready();

const article = find("#call");
const { recording } = article.dataset;
const form = find("#reason-form");
const message = find("#listen-message");
const said = new Map(); // the words of reasons, by log entry: known only to who has opened this call

if (form) {
  const player = new Player(find("#player"), () => {
    form.hidden = false;
    say(message, "Closed. The keys of this opening are wiped.");
  });

  const reason = (action) => {
    const { reason_class, reason, case: reference } = Object.fromEntries(new FormData(form));
    return { recording, action, reason_class, reason, case: reference };
  };

  const open = async (action, prove) => {
    say(message, "");
    const { nonce, options } = await post("/api/openings/begin", reason(action));
    const proof = await prove(options);
    return post("/api/openings", { nonce, ...proof });
  };

  const touch = async (options) => {
    if (!options) throw new Error("You have no passkey here. Use a code instead.");
    say(message, "Touch your passkey. It signs this recording, this reason, and nothing else.");
    return { response: await usePasskey(options) };
  };

  const proveAndPlay = async (prove) => {
    const opening = await open("listen", prove);
    for (const { log_index, words } of opening.words) said.set(log_index, words);
    form.hidden = true;
    form.reset();
    say(message, "");
    await player.open(opening);
    await showHistory();
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    whileBusy(find("#open-passkey"), message, () => proveAndPlay(touch).finally(showHistory));
  });

  find("#export-passkey").addEventListener("click", (event) => {
    if (!form.reportValidity()) return;
    whileBusy(event.target, message, async () => {
      const { opening, log_index } = await open("export", touch).finally(showHistory);
      location.assign(`/api/openings/${opening}/export`);
      say(message, `Exported, by entry ${log_index} of the log. The copy is in your care now.`);
    });
  });

  find("[name=reason_class]", form).addEventListener("change", (event) => {
    const needed = event.target.selectedOptions[0].dataset.needsCase !== undefined;
    find("[name=case]", form).required = needed;
    find("#case-hint").textContent = needed ? "(needed for this reason)" : "(optional)";
  });

  find("#open-code").addEventListener("click", () => {
    find("#code-box").hidden = false;
    find("#code-box input").focus();
  });
  find("#open-with-code").addEventListener("click", (event) => {
    if (!form.reportValidity()) return;
    const code = find("#code-box input").value.replaceAll(" ", "");
    whileBusy(event.target, message, () => proveAndPlay(async () => ({ code })).finally(showHistory));
  });
}

async function showHistory() {
  try {
    const { entries, exports } = await get(`/api/calls/${recording}/history`);
    find("#exports").replaceChildren(...exports.map(drawExport));
    find("#no-exports").hidden = exports.length > 0;
    find("#history tbody").replaceChildren(...entries.map(drawEntry));
    find("#history").hidden = entries.length === 0;
    find("#no-history").hidden = entries.length > 0;
  } catch (error) {
    say(find("#history-message"), error.message, "bad");
  }
}

function drawExport(copy) {
  const end = copy.outstanding ? "Outstanding: nobody has confirmed that it is gone." : `Gone. ${copy.how}: ${copy.gone_by}, ${showMoment(copy.gone_at)}.`;
  const words = `${showMoment(copy.at)}, by ${copy.who}, ${copy.role}: ${copy.reason}; entry ${copy.log_index} of the log. ${end}`;
  return Object.assign(document.createElement("li"), { textContent: words });
}

const reasonOf = (entry) => (said.has(entry.log_index) ? `${entry.reason}: ${said.get(entry.log_index)}` : entry.reason);

function drawEntry(entry) {
  const row = document.createElement("tr");
  row.dataset.decision = entry.decision;
  const cells = [showMoment(entry.at), entry.who, entry.role, entry.action, reasonOf(entry), entry.decision, entry.log_index];
  row.append(...cells.map((text) => Object.assign(document.createElement("td"), { textContent: text ?? "–" })));
  return row;
}

find("#verify").addEventListener("click", (event) =>
  whileBusy(event.target, find("#verified"), async () => {
    say(find("#verified"), "Verifying …");
    showReport(find("#verified"), await post(`/api/calls/${recording}/verify`));
  }),
);

function watch() {
  if (!["live", "ended"].includes(article.dataset.state)) return;
  const feed = new EventSource("/api/calls/live");
  feed.addEventListener("calls", (event) => {
    const call = JSON.parse(event.data).find((item) => item.recording === recording);
    if (!call) return;
    if (!["live", "ended"].includes(call.state)) location.reload();
    find("#state").textContent = call.state_words;
    find("#length").textContent = showLength(call.length_ms);
    say(find("#live-words"), call.state === "live" ? `Sealed through ${showLength(call.sealed_through_ms)}.` : "Ended; being sealed.");
  });
  addEventListener("pagehide", () => feed.close());
}

await showHistory();
watch();
