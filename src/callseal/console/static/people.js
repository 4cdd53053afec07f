// Who may sign in; inviting and revoking, each proved by the administrator's own passkey or code.

import { get } from "./api.js";
import { find, ready, say, showMoment, whileBusy } from "./page.js";
import { prove } from "./prove.js";

ready();

const message = find("#message");
const form = find("#invite");

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
        await prove("/api/people/revoke", { person: person.person }, message, find(".code", form));
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
    const { token } = await prove("/api/people/invite", { name, role }, message, find(".code", form));
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
