// How the installation is, asked again every few seconds while the page is looked at.

import { get, post } from "./api.js";
import { find, say, showMoment, whileBusy } from "./page.js";
import { drawRecorders } from "./recorders.js";

const EVERY_MS = 5000;
const message = find("#message");
const cell = (text) => Object.assign(document.createElement("td"), { textContent: text ?? "–" });

function drawAlert(alert) {
  const item = document.createElement("li");
  item.dataset.severity = alert.severity;
  const words = document.createElement("p");
  words.textContent = `${alert.severity}: ${alert.text}${alert.count > 1 ? ` (${alert.count} times)` : ""}`;
  const when = Object.assign(document.createElement("p"), { className: "hint", textContent: showMoment(alert.last_at) });
  const button = Object.assign(document.createElement("button"), { textContent: "I have seen this" });
  button.setAttribute("aria-label", `I have seen this: ${alert.text}`);
  button.addEventListener("click", () =>
    whileBusy(button, message, async () => {
      await post(`/api/alerts/${alert.id}/acknowledge`);
      await show();
    }),
  );
  item.append(words, when, button);
  return item;
}

async function show() {
  const health = await get("/api/health");
  find("#alerts").replaceChildren(...health.alerts.map(drawAlert));
  find("#no-alerts").hidden = health.alerts.length > 0 || !health.database;
  find("#unknown-alerts").hidden = health.database;
  find("#figures").replaceChildren(
    ...health.figures.flatMap(({ name, value, tone }) => {
      const term = Object.assign(document.createElement("dt"), { textContent: name });
      const words = Object.assign(document.createElement("dd"), { textContent: value });
      words.dataset.tone = tone;
      return [term, words];
    }),
  );
  find("#processes tbody").replaceChildren(
    ...health.processes.map((process) => {
      const row = document.createElement("tr");
      row.append(cell(process.name), cell(process.state), cell(showMoment(process.since)), cell(process.restarts));
      return row;
    }),
  );
  drawRecorders(health.recorders);
}

async function again() {
  if (!document.hidden) await show().catch((error) => say(message, error.message, "bad"));
  setTimeout(again, EVERY_MS);
}

await again();
