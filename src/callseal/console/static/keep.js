// On a call's page: holding it for a case, or destroying it before its day.

import { drawCertificate } from "./certificate.js";
import { find, say, whileBusy } from "./page.js";
import { prove } from "./prove.js";

const { recording } = find("#call").dataset;
const message = find("#keep-message");
const box = find("#keep-code");
const fields = (form) => {
  const { reason_class, reason, case: reference } = Object.fromEntries(new FormData(form));
  return { recording, reason_class, reason, case: reference };
};

find("#hold-form").addEventListener("submit", (event) => {
  event.preventDefault();
  whileBusy(find("button", event.target), message, async () => {
    const { log_index } = await prove("/api/holds", fields(event.target), message, box);
    event.target.hidden = true;
    find("#held-words").textContent = "held, acknowledged by the custodian";
    say(message, `Held: entry ${log_index} of the log. It stays until the hold is released.`, "good");
  });
});

find("#erase-form").addEventListener("submit", (event) => {
  event.preventDefault();
  whileBusy(find("button", event.target), message, async () => {
    const done = await prove("/api/erasures", fields(event.target), message, box);
    event.target.hidden = true;
    if (done.link) {
      find("#second-link").textContent = location.origin + done.link;
      find("#second-box").hidden = false;
      find("#second-box h3").focus();
      say(message, "Signed by you. It takes a second person today.");
      return;
    }
    find("#own-certificate").replaceChildren(...done.certificates.map(drawCertificate));
    say(message, `Destroyed: entry ${done.certificates[0].log_index} of the log. Its key is gone; nothing opens it again.`, "good");
  });
});
