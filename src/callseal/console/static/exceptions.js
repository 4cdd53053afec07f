// Exceptions from encryption on the wire: asked for, approved, ended; each proved to the custodian.

import { get } from "./api.js";
import { fill, find, ready, say, showMoment, whileBusy } from "./page.js";
import { prove } from "./prove.js";

ready();

const message = find("#message");
const box = find("#code-box");

function draw(one) {
  const item = fill(find("#exception"), {
    title: one.peer,
    state: one.stands ? `stands until ${showMoment(one.until)}` : "waits for a compliance officer",
    where: `Voice in the clear from ${one.network} through ${one.interface}${one.stands ? "" : `, for ${one.days} days`}.`,
    who: `Asked by ${one.asked_by}, ${showMoment(one.asked_at)}, entry ${one.log_index} of the log.${one.approved_by ? ` Approved by ${one.approved_by}.` : ""}`,
    reason: one.reason,
  });
  find("[data-field=state]", item).classList.toggle("warn", one.stands);
  const approve = find("[data-do=approve]", item);
  const end = find("[data-do=end]", item);
  approve.hidden = !one.approvable;
  approve.setAttribute("aria-label", `Approve with a passkey touch: ${one.peer}`);
  end.setAttribute("aria-label", `End it: ${one.peer}`);
  const act = (button, path, words) =>
    button.addEventListener("click", () =>
      whileBusy(button, message, async () => {
        const { log_index } = await prove(path, { exception: one.exception }, message, box);
        await show();
        say(message, `${words} Entry ${log_index} of the log.`, "good");
        find("#standing-title").focus();
      }),
    );
  act(approve, "/api/exceptions/approve", `The exception for ${one.peer} stands.`);
  act(end, "/api/exceptions/end", `The exception for ${one.peer} has ended.`);
  return item;
}

async function show() {
  const { exceptions } = await get("/api/exceptions");
  find("#exceptions").replaceChildren(...exceptions.map(draw));
  find("#none").hidden = exceptions.length > 0;
}

const form = document.querySelector("#ask");
form?.addEventListener("submit", (event) => {
  event.preventDefault();
  whileBusy(find("button", form), message, async () => {
    const asked = Object.fromEntries(new FormData(form));
    const { log_index } = await prove("/api/exceptions/ask", { ...asked, days: Number(asked.days) }, message, box);
    form.reset();
    await show();
    say(message, `Asked, by entry ${log_index} of the log. A compliance officer must approve it.`, "good");
  });
});

await show().catch((error) => say(message, error.message, "bad"));
