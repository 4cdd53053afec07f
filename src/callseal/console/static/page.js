// Small habits that all pages share: finding elements, saying things aloud, showing lengths and moments.

export const find = (selector, within = document) => within.querySelector(selector);
export const findAll = (selector, within = document) => [...within.querySelectorAll(selector)];

// A button that needs its script waits, disabled, until the script is there; a form is never sent by the browser itself.
export const ready = () => findAll("[data-waits]").forEach((button) => (button.disabled = false));

// Say something in an element that screen readers watch (role="status" or "alert").
export function say(element, text, tone = "plain") {
  element.textContent = text;
  element.dataset.tone = tone;
  element.hidden = text === "";
}

// Run what a button asked for: one at a time, with the refusal said where it belongs.
export async function whileBusy(button, message, work) {
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  try {
    await work();
  } catch (error) {
    say(message, sentence(error), "bad");
  } finally {
    button.removeAttribute("aria-disabled");
  }
}

export function sentence(error) {
  if (error?.name === "NotAllowedError") return "The passkey was not used: it was cancelled, or it took too long. You can try again.";
  if (error?.name === "InvalidStateError") return "This device already has a passkey for this person.";
  if (error?.name === "SecurityError") return "Passkeys cannot be used at this address.";
  return error?.message || "Something went wrong.";
}

export function showLength(milliseconds) {
  if (milliseconds === null || milliseconds === undefined) return "–";
  const total = Math.floor(milliseconds / 1000);
  const [hours, minutes, seconds] = [Math.floor(total / 3600), Math.floor(total / 60) % 60, total % 60];
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(seconds)}` : `${minutes}:${two(seconds)}`;
}

// The same length in words, for screen readers.
export function sayLength(milliseconds) {
  const total = Math.floor(milliseconds / 1000);
  const [minutes, seconds] = [Math.floor(total / 60), total % 60];
  const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
  return minutes ? `${count(minutes, "minute")} ${count(seconds, "second")}` : count(seconds, "second");
}

const moments = new Intl.DateTimeFormat("en-GB", {
  day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
});

export const showMoment = (text) => (text ? moments.format(new Date(text)) : "–");

// Copy a <template> and fill its `data-field` elements with text; nothing is ever parsed as HTML.
export function fill(template, values) {
  const copy = template.content.firstElementChild.cloneNode(true);
  for (const element of [copy, ...findAll("[data-field]", copy)]) {
    const name = element.dataset.field;
    if (name !== undefined && values[name] !== undefined) element.textContent = values[name] ?? "";
  }
  return copy;
}
