// Enrolling with a link that works once. Its token stands after the #, which a browser never sends;
// it is taken out of the address at once and goes to the server only in the body of a request.

import { post } from "./api.js";
import { find, ready, say, whileBusy } from "./page.js";
import { createPasskey, passkeysWork } from "./passkey.js";

ready();

const token = location.hash.slice(1);
history.replaceState(null, "", location.pathname);

const message = find("#message");
const passkeyButton = find("#make-passkey");
const begin = find("#begin-password");
const form = find("#password-form");
let started = null;

if (!token) {
  find("#no-token").hidden = false;
  find("#choices").hidden = true;
} else if (!passkeysWork() && passkeyButton) {
  passkeyButton.disabled = true;
  find("#no-passkeys-here").hidden = false;
}

passkeyButton?.addEventListener("click", () =>
  whileBusy(passkeyButton, message, async () => {
    say(message, "Your device now asks where to keep the passkey.");
    const { options, nonce } = await post("/api/enrol/begin", { token, kind: "passkey" });
    const response = await createPasskey(options);
    welcome(await post("/api/enrol/finish", { token, nonce, response }));
  }),
);

begin.addEventListener("click", () =>
  whileBusy(begin, message, async () => {
    started = await post("/api/enrol/begin", { token, kind: "totp" });
    draw(find("#qr"), started.squares);
    find("#secret").textContent = started.secret.replace(/(.{4})/g, "$1 ").trim();
    begin.hidden = true;
    form.hidden = false;
    find("input", form).focus();
    say(message, "");
  }),
);

form.addEventListener("submit", (event) => {
  event.preventDefault();
  whileBusy(find("button", form), message, async () => {
    const { password, again, code } = Object.fromEntries(new FormData(form));
    if (password !== again) throw new Error("The two passwords differ.");
    const { nonce } = started;
    welcome(await post("/api/enrol/finish", { token, nonce, password, code: code.replaceAll(" ", "") }));
  });
});

// The QR code (ISO/IEC 18004) as one SVG path; `squares` is a row of 0s and 1s for each line.
function draw(svg, squares) {
  const quiet = 4;
  const side = squares.length + 2 * quiet;
  svg.setAttribute("viewBox", `0 0 ${side} ${side}`);
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  const dark = squares.flatMap((row, y) => [...row].flatMap((bit, x) => (bit === "1" ? [`M${x + quiet} ${y + quiet}h1v1h-1z`] : [])));
  path.setAttribute("d", dark.join(""));
  svg.replaceChildren(path);
}

function welcome({ role }) {
  find("#choices").hidden = true;
  find("#done").hidden = false;
  find("#role").textContent = role.replaceAll("_", " ");
  say(message, "");
  find("#done h2").focus();
}
