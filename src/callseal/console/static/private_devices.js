// The browsers that the next signed list will name, and revoking one: proved by a passkey, in force when the list is signed.

import { get, post } from "./api.js";
import { find, say, showMoment, whileBusy } from "./page.js";
import { usePasskey } from "./passkey.js";

const message = find("#message");
const section = find("#devices");

export async function showDevices() {
  const { devices } = await get("/api/private/devices");
  section.hidden = devices.length === 0;
  find("#device-list").replaceChildren(...devices.map(draw));
}

function draw({ device, role, not_after, own }) {
  const item = document.createElement("li");
  item.append(`${role}${own ? ", a browser of yours" : ""}, until ${showMoment(not_after)}, key ${device.slice(0, 8)} `);
  if (section.dataset.revokes !== undefined) {
    const button = Object.assign(document.createElement("button"), { className: "quiet", textContent: "Revoke" });
    button.setAttribute("aria-label", `Revoke the browser with the key ${device.slice(0, 8)}, ${role}`);
    button.addEventListener("click", () => whileBusy(button, message, () => revoke(device)));
    item.append(button);
  }
  return item;
}

async function revoke(device) {
  const { request, options, nonce } = await post("/api/private/devices/revoke/begin", { device });
  if (!options) throw new Error("Revoking a browser needs a passkey; you have none here.");
  say(message, "Touch your passkey. It signs that this browser may answer no more.");
  await post("/api/private/devices/revoke", { request, nonce, response: await usePasskey(options) });
  say(message, "Revoked. Have the list signed now: until then customers may still believe it.", "good");
  await showDevices();
}
