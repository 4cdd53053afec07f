// Copies that left: the outstanding ones, and the word of who confirms that one is gone.

import { get } from "./api.js";
import { fill, find, say, showMoment, whileBusy } from "./page.js";
import { prove } from "./prove.js";

const message = find("#message");

function draw(copy) {
  const item = fill(find("#copy"), {
    call: copy.call_at ? `Call of ${showMoment(copy.call_at)}` : `Recording ${copy.recording}`,
    taken: `Taken out ${showMoment(copy.at)} by ${copy.who}, ${copy.role}. ${copy.reason}. Entry ${copy.log_index} of the log.${copy.destroyed ? " The recording itself has been destroyed." : ""}`,
    file: copy.sha256 ? `SHA-256 of the file: ${copy.sha256}` : "No file was reported: it may be whole, in part, or not written at all.",
  });
  find("a", item).href = `/calls/${copy.recording}`;
  const form = find("form", item);
  const end = find("[data-field=end]", item);
  form.hidden = !copy.outstanding;
  end.hidden = copy.outstanding;
  if (!copy.outstanding) {
    end.textContent = `${copy.how}: ${copy.gone_by}, ${showMoment(copy.gone_at)}, entry ${copy.gone_index} of the log.`;
    return item;
  }
  const button = find("button", form);
  button.disabled = false;
  button.setAttribute("aria-label", `Confirm that it is gone: the copy of entry ${copy.log_index}`);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    whileBusy(button, message, async () => {
      const body = { export: copy.log_index, how: form.elements.how.value };
      const { log_index } = await prove("/api/exports/gone", body, message, find("#code-box"));
      await show();
      say(message, `Confirmed, by entry ${log_index} of the log.`, "good");
      find("#outstanding-title").focus();
    });
  });
  return item;
}

async function show() {
  const { exports, outstanding } = await get("/api/exports");
  find("#count").textContent = String(outstanding);
  find("#outstanding").replaceChildren(...exports.filter((copy) => copy.outstanding).map(draw));
  find("#gone").replaceChildren(...exports.filter((copy) => !copy.outstanding).map(draw));
  find("#none").hidden = outstanding > 0;
  find("#none-gone").hidden = exports.length > outstanding;
}

await show().catch((error) => say(message, error.message, "bad"));
