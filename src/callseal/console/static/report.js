// What the independent verifier found, as a list.

export function showReport(place, report) {
  place.hidden = false;
  place.dataset.tone = report.ok ? "good" : "bad";
  const title = Object.assign(document.createElement("p"), { textContent: report.words });
  const list = document.createElement("ul");
  list.append(...report.findings.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
  place.replaceChildren(title, list);
}
