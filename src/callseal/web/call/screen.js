// What is on the screen: one section of the page at a time, its fields as text, its buttons by name. Nothing is parsed as HTML.

export const find = (selector, within = document) => within.querySelector(selector);
export const findAll = (selector, within = document) => [...within.querySelectorAll(selector)];

// Show one section, put the focus on its heading, and say its words to screen readers.
export function show(state, words = "") {
  for (const section of findAll("section[data-state]")) section.hidden = section.dataset.state !== state;
  const heading = find(`section[data-state="${state}"] h1`);
  document.title = `${heading.textContent.trim()} – private call`;
  heading.focus({ preventScroll: true });
  scrollTo({ top: 0 });
  announce(words);
}

export function announce(words) {
  find("#status").textContent = words;
}

export function fillIn(values) {
  for (const [name, value] of Object.entries(values))
    for (const element of findAll(`[data-field="${name}"]`)) element.textContent = value;
}

// Buttons by their `data-do`; one press at a time. `failed(error)` hears of what a press could not do.
export function onPress(actions, failed) {
  for (const [name, act] of Object.entries(actions))
    for (const button of findAll(`[data-do="${name}"]`))
      button.addEventListener("click", async () => {
        if (button.getAttribute("aria-disabled") === "true") return;
        button.setAttribute("aria-disabled", "true");
        try {
          await act(button);
        } catch (error) {
          failed(error);
        } finally {
          button.removeAttribute("aria-disabled");
        }
      });
}

// The microphones to choose from, where there is more than one.
export function offerMicrophones(microphones, current, choose) {
  for (const select of findAll('select[data-field="microphones"]')) {
    const options = microphones.map(({ deviceId, label }, at) => new Option(label || `Microphone ${at + 1}`, deviceId, false, deviceId === current));
    select.replaceChildren(...options);
    select.closest("label").hidden = microphones.length < 2;
    select.onchange = () => choose(select.value);
  }
}

export function showTime(milliseconds) {
  const total = Math.floor(milliseconds / 1000);
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes, seconds] = [Math.floor(total / 3600), Math.floor(total / 60) % 60, total % 60];
  return hours ? `${hours}:${two(minutes)}:${two(seconds)}` : `${minutes}:${two(seconds)}`;
}
