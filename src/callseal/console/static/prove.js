// Asking the custodian for something, and proving it by a passkey's touch; by a code, where this person has no passkey here.

import { post } from "./api.js";
import { find, say } from "./page.js";
import { usePasskey } from "./passkey.js";

// `box` is a hidden label with the field for a code; it is shown when one is needed.
export async function prove(path, body, message, box) {
  const { nonce, options } = await post(`${path}/begin`, body);
  if (options) {
    say(message, "Touch your passkey.");
    return post(path, { nonce, response: await usePasskey(options) });
  }
  const code = find("[name=code]", box);
  if (!code.value) {
    box.hidden = false;
    code.focus();
    throw new Error("Enter the code that your authenticator app shows, then try again.");
  }
  const sent = code.value.replaceAll(" ", "");
  code.value = "";
  return post(path, { nonce, code: sent });
}
