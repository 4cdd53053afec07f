// Playing what was granted: one address, bound to this session and this opening; closed and wiped at the end.

import { get, post } from "./api.js";
import { find, findAll, sayLength, showLength } from "./page.js";
import { Wave } from "./wave.js";

const STILL_HERE_MS = 60_000;

export class Player {
  constructor(root, onClose) {
    this.root = root;
    this.onClose = onClose;
    this.audio = find("#audio", root);
    this.wave = new Wave(find("#wave", root));
    this.seek = find("#seek", root);
    this.button = find("#play", root);
    this.opening = null;
    this.seenAt = 0;
    this.button.addEventListener("click", () => (this.audio.paused ? this.audio.play() : this.audio.pause()));
    this.seek.addEventListener("input", () => this.goTo(Number(this.seek.value)));
    find("#speed", root).addEventListener("change", (event) => (this.audio.playbackRate = Number(event.target.value)));
    find("#tracks", root).addEventListener("change", (event) => this.choose(event.target.value));
    find("#close", root).addEventListener("click", () => this.close());
    for (const name of ["play", "pause", "ended"]) this.audio.addEventListener(name, () => this.showState());
    this.audio.addEventListener("timeupdate", () => this.showTime());
    this.audio.addEventListener("error", () => this.fail());
    addEventListener("pagehide", () => this.close({ keepalive: true }));
  }

  async open(opening) {
    this.opening = opening;
    this.root.hidden = false;
    const closes = new Date(Date.now() + opening.closes_in_seconds * 1000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
    find("#opened-words", this.root).textContent =
      `Opened on the record: entry ${opening.log_index} of the log.` +
      `${opening.weaker ? " By a code, which is weaker than a passkey." : ""} It closes by itself at ${closes}.`;
    find("#opened-words", this.root).focus(); // at once: later it would be taken from where the listener has gone on to
    this.showSpeakers(opening.participants);
    const unplayable = find("#unplayable", this.root);
    unplayable.hidden = opening.playable;
    find("#playing", this.root).hidden = !opening.playable;
    if (!opening.playable) {
      unplayable.textContent = `This call was recorded in ${opening.codecs.join(" and ")}, which this page cannot play. Use “callseal export” to write it as Matroska audio (.mka) for a player that can.`;
      return;
    }
    this.seek.max = String(opening.duration_ms);
    find("#total", this.root).textContent = showLength(opening.duration_ms);
    this.offerTracks(opening.tracks);
    this.choose("both");
    const picture = await get(`/api/openings/${opening.opening}/waveform`);
    this.wave.show(picture);
    this.showGaps(picture.gaps);
    this.showTime();
  }

  showSpeakers(participants) {
    const place = find("#speakers", this.root);
    place.replaceChildren(
      ...participants.map(({ party, words }) => {
        const line = document.createElement("p");
        line.textContent = `${party}: ${words}`;
        return line;
      }),
    );
  }

  offerTracks(tracks) {
    const box = find("#tracks", this.root);
    findAll("label", box).slice(1).forEach((label) => label.remove());
    const lanes = tracks.map((track) => {
      const item = document.createElement("li");
      item.textContent = track.words;
      return item;
    });
    find("#lanes", this.root).replaceChildren(...lanes);
    if (tracks.length < 2) return;
    for (const track of tracks) {
      const label = document.createElement("label");
      const radio = Object.assign(document.createElement("input"), { type: "radio", name: "track", value: String(track.number) });
      label.append(radio, ` ${track.words}`);
      box.append(label);
    }
  }

  choose(track) {
    const { currentTime, paused } = this.audio;
    this.audio.src = `/api/openings/${this.opening.opening}/audio.wav?track=${encodeURIComponent(track)}`;
    this.audio.playbackRate = Number(find("#speed", this.root).value);
    if (currentTime) this.audio.currentTime = currentTime;
    if (!paused) this.audio.play();
  }

  goTo(milliseconds) {
    this.audio.currentTime = milliseconds / 1000;
    this.showTime(milliseconds);
  }

  showTime(milliseconds = this.audio.currentTime * 1000) {
    find("#time", this.root).textContent = showLength(milliseconds);
    this.seek.value = String(Math.round(milliseconds));
    this.seek.setAttribute("aria-valuetext", `${sayLength(milliseconds)} of ${sayLength(this.opening?.duration_ms ?? 0)}`);
    this.wave.moveTo(milliseconds);
    this.stayHere();
  }

  // A person who listens is present, though the browser asks for nothing.
  stayHere() {
    if (this.audio.paused || Date.now() - this.seenAt < STILL_HERE_MS) return;
    this.seenAt = Date.now();
    get("/api/session").catch(() => this.audio.pause());
  }

  showState() {
    this.button.textContent = this.audio.paused ? "Play" : "Pause";
  }

  showGaps(gaps) {
    const items = gaps.map((gap) => {
      const item = document.createElement("li");
      item.textContent = `Gap from ${showLength(gap.from_ms)} to ${showLength(gap.to_ms)}: ${gap.why}`;
      return item;
    });
    find("#wave-gaps", this.root).replaceChildren(...items);
  }

  fail() {
    if (this.opening === null) return;
    this.close();
  }

  close(options = {}) {
    if (this.opening === null) return;
    const { opening } = this.opening;
    this.opening = null;
    this.audio.pause();
    this.audio.removeAttribute("src");
    this.audio.load();
    this.root.hidden = true;
    post(`/api/openings/${opening}/end`, {}, options).catch(() => {});
    this.onClose();
  }
}
