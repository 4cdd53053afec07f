// Holds by their case, each with its release; and what was destroyed, with its certificates.

import { get } from "./api.js";
import { drawCertificate } from "./certificate.js";
import { fill, find, say, showMoment, whileBusy } from "./page.js";
import { prove } from "./prove.js";

const message = find("#message");

function draw(hold) {
  const item = fill(find("#hold"), { case: `Case: ${hold.case}`, placed: `Placed by ${hold.who}, ${showMoment(hold.at)}.` });
  const calls = hold.calls.map(({ recording, at }) => {
    const link = Object.assign(document.createElement("a"), {
      href: `/calls/${recording}`,
      textContent: at ? `Call of ${showMoment(at)}` : `Recording ${recording}`,
    });
    const line = document.createElement("li");
    line.append(link);
    return line;
  });
  find("[data-list=calls]", item).replaceChildren(...calls);
  const hint = find(".hint", item);
  hint.id = `release-${hold.hold}`;
  find("textarea", item).setAttribute("aria-describedby", hint.id);
  const button = find("button", item);
  button.disabled = false;
  find("form", item).addEventListener("submit", (event) => {
    event.preventDefault();
    whileBusy(button, message, async () => {
      const fields = Object.fromEntries(new FormData(event.target));
      const done = await prove("/api/holds/release", { hold: hold.hold, ...fields }, message, find("#code-box"));
      await show();
      const destroyed = done.certificates.length;
      say(message, `Released, by entry ${done.log_index} of the log.${destroyed ? ` Destroyed with it: ${destroyed}.` : ""}`, "good");
      find("#holds-title").focus();
    });
  });
  return item;
}

async function show() {
  const { holds, certificates } = await get("/api/holds");
  find("#count").textContent = String(holds.length);
  find("#holds").replaceChildren(...holds.map(draw));
  find("#none").hidden = holds.length > 0;
  find("#certificates").replaceChildren(...certificates.map(drawCertificate));
  find("#none-destroyed").hidden = certificates.length > 0;
}

await show().catch((error) => say(message, error.message, "bad"));
