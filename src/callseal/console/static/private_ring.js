// The sound of a call that waits, made here, and the words in the tab's title for whoever looks elsewhere.

const EVERY_MS = 2400;
const TONES = [[0, 784], [0.22, 988]]; // seconds after the start, hertz

export class Ring {
  #timer = 0;
  #context = null;
  #title = document.title;

  start(words) {
    this.stop();
    this.#title = document.title;
    const once = () => {
      document.title = document.title === this.#title ? words : this.#title;
      this.#sound();
    };
    once();
    this.#timer = setInterval(once, EVERY_MS);
  }

  stop() {
    clearInterval(this.#timer);
    if (this.#timer) document.title = this.#title;
    this.#timer = 0;
  }

  // Silent where the browser wants a touch of the page first: the title and the card ring all the same.
  #sound() {
    this.#context ??= new AudioContext();
    if (this.#context.state !== "running") return void this.#context.resume().catch(() => {});
    for (const [after, hertz] of TONES) {
      const at = this.#context.currentTime + after;
      const tone = new OscillatorNode(this.#context, { frequency: hertz });
      const level = new GainNode(this.#context, { gain: 0 });
      level.gain.setValueAtTime(0, at);
      level.gain.linearRampToValueAtTime(0.2, at + 0.02);
      level.gain.exponentialRampToValueAtTime(0.001, at + 0.6);
      tone.connect(level).connect(this.#context.destination);
      tone.start(at);
      tone.stop(at + 0.65);
    }
  }
}
