// Somebody else asks, by a link: its code is given once, what would be signed is shown, and a passkey's touch is carried on.
// The code stands after the #, which a browser never sends, and is taken out of the address at once.

import { post } from "./api.js";
import { find, ready, say, sentence, whileBusy } from "./page.js";
import { usePasskey } from "./passkey.js";

const message = find("#message");
const card = find("#asked");
const { take, prove: path } = card.dataset;
let asked = null;

function show() {
  const lines = asked.lines.flatMap(([name, words]) => [
    Object.assign(document.createElement("dt"), { textContent: name }),
    Object.assign(document.createElement("dd"), { textContent: words }),
  ]);
  find("#lines").replaceChildren(...lines);
  card.hidden = false;
  ready();
  if (!asked.options) {
    find("#allow").disabled = true;
    say(message, "You have no passkey here, so you cannot allow it.", "bad");
  }
  find("#asked-title").focus();
}

async function prove(response) {
  const { nonce } = asked;
  card.hidden = true;
  return post(path, response ? { nonce, response } : { nonce });
}

find("#allow").addEventListener("click", (event) =>
  whileBusy(event.target, message, async () => {
    say(message, "Touch your passkey. It signs what stands here, and nothing else.");
    const { words } = await prove(await usePasskey(asked.options));
    say(message, words, "good");
  }),
);

find("#refuse").addEventListener("click", (event) => whileBusy(event.target, message, () => prove(null)));

async function takeLink() {
  const link = location.hash.slice(1);
  find("#no-link").hidden = Boolean(link);
  card.hidden = true;
  say(message, "");
  if (!link) return;
  try {
    asked = await post(take, { link });
    history.replaceState(null, "", location.pathname);
    show();
  } catch (error) {
    say(message, sentence(error), "bad");
  }
}

addEventListener("hashchange", takeLink); // the next link in the same tab does not load the page anew
await takeLink();
