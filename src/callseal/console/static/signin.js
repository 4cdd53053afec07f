// Signing in: a passkey that the device offers by itself, or name, password and code.

import { post } from "./api.js";
import { find, ready, say, whileBusy } from "./page.js";
import { passkeysWork, usePasskey } from "./passkey.js";

ready();

const message = find("#message");
const button = find("#use-passkey");
const form = find("#password-form");

// Only a path of this console is a place to go on to; what stood behind its # goes along.
function next() {
  const wanted = new URLSearchParams(location.search).get("next") ?? "";
  return /^\/[a-z][a-z0-9/]*$/.test(wanted) ? wanted + location.hash : "/calls";
}

if (button && !passkeysWork()) {
  button.hidden = true;
  find("#no-passkeys-here").hidden = false;
  find("#password").open = true;
}

button?.addEventListener("click", () =>
  whileBusy(button, message, async () => {
    say(message, "Touch your passkey, or follow what your device asks.");
    const { options, nonce } = await post("/api/signin/begin");
    const response = await usePasskey(options);
    await post("/api/signin/finish", { nonce, response });
    location.assign(next());
  }),
);

form.addEventListener("submit", (event) => {
  event.preventDefault();
  whileBusy(find("button", form), message, async () => {
    say(message, "");
    const { nonce } = await post("/api/signin/begin");
    const { name, password, code } = Object.fromEntries(new FormData(form));
    await post("/api/signin/finish", { nonce, name, password, code: code.replaceAll(" ", "") });
    location.assign(next());
  });
});
