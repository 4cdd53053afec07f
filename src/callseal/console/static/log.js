// The newest entries of the log, its checkpoint, and the independent verifier over everything.

import { get, post } from "./api.js";
import { find, say, showMoment, whileBusy } from "./page.js";
import { showReport } from "./report.js";

function drawEntry(entry) {
  const row = document.createElement("tr");
  if (entry.decision) row.dataset.decision = entry.decision;
  const cells = [entry.log_index, showMoment(entry.at), entry.what, entry.who, entry.recording, entry.reason, entry.decision];
  row.append(...cells.map((text) => Object.assign(document.createElement("td"), { textContent: text ?? "–" })));
  return row;
}

async function show() {
  const { checkpoint, entries } = await get("/api/log");
  find("#size").textContent = checkpoint ? checkpoint.size : "–";
  find("#root").textContent = checkpoint ? checkpoint.root : "–";
  find("#origin").textContent = checkpoint ? checkpoint.origin : "–";
  find("#entries tbody").replaceChildren(...entries.map(drawEntry));
  find("#none").hidden = entries.length > 0;
}

find("#verify").addEventListener("click", (event) =>
  whileBusy(event.target, find("#verified"), async () => {
    say(find("#verified"), "Verifying …");
    showReport(find("#verified"), await post("/api/log/verify"));
  }),
);

await show().catch((error) => say(find("#message"), error.message, "bad"));
