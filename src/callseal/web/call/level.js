// How loud a microphone is, for a person to see that it works; the sound goes nowhere.

export class Level {
  #context = new AudioContext();
  #timer;

  // `tell(level)` about twelve times a second, 0 to 1.
  constructor(stream, tell) {
    const ear = this.#context.createAnalyser();
    this.#context.createMediaStreamSource(stream).connect(ear);
    const samples = new Float32Array(ear.fftSize);
    this.#timer = setInterval(() => {
      ear.getFloatTimeDomainData(samples);
      const loud = Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
      tell(Math.min(1, loud * 4));
    }, 80);
  }

  close() {
    clearInterval(this.#timer);
    this.#context.close();
  }
}
