// Who may sign in; inviting and revoking, each proved by the administrator's own passkey or code.

import { get, post } from "./api.js";
import { find, ready, say, showMoment, whileBusy } from "./page.js";
import { usePasskey } from "./passkey.js";

ready();

const message = find("#message");
const form = find("#invite");

async function prove(path, body) {
  const { nonce, options } = await post(`${path}/begin`, body);
  if (options) {
    say(message, "Touch your passkey.");
    return post(path, { nonce, response: await usePasskey(options) });
  }
  const code = find("[name=code]", form);
  if (!code.value) {
    find(".code", form).hidden = false;
    code.focus();
    throw new Error("Enter the code that your authenticator app shows, then try again.");
  }
  const sent = code.value.replaceAll(" ", "");
  code.value = "";
  return post(path, { nonce, code: sent });
}

async function show() {
  const { people } = await get("/api/people");
  find("#people tbody").replaceChildren(...people.map(drawPerson));
}

function drawPerson(person) {
  const row = document.createElement("tr");
  const cells = [person.name, person.role_words, person.method, showMoment(person.since), person.standing];
  row.append(...cells.map((text) => Object.assign(document.createElement("td"), { textContent: text ?? "–" })));
  const last = document.createElement("td");
  if (person.revocable) {
    const button = Object.assign(document.createElement("button"), { textContent: "Revoke", className: "quiet" });
    button.setAttribute("aria-label", `Revoke ${person.name}`);
    button.addEventListener("click", () =>
      whileBusy(button, message, async () => {
        await prove("/api/people/revoke", { person: person.person });
        say(message, `${person.name} can no longer sign in. Their sessions have ended.`, "good");
        await show();
      }),
    );
    last.append(button);
  }
  row.append(last);
  return row;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  whileBusy(find("button", form), message, async () => {
    const { name, role } = Object.fromEntries(new FormData(form));
    const { token } = await prove("/api/people/invite", { name, role });
    find("#link").textContent = `${location.origin}/enrol#${token}`;
    find("#link-box").hidden = false;
    find("#link-box h3").focus();
    form.reset();
    say(message, "");
    await show();
  });
});

find("#copy").addEventListener("click", () =>
  whileBusy(find("#copy"), message, async () => {
    await navigator.clipboard.writeText(find("#link").textContent);
    say(message, "Copied.", "good");
  }),
);

await show().catch((error) => say(message, error.message, "bad"));
