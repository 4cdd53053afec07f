// The picture of the sound: one lane for each track, gaps hatched, what was played in the accent colour.
// Drawn from the peaks of the granted audio only.

export class Wave {
  constructor(canvas) {
    this.canvas = canvas;
    this.tracks = [];
    this.gaps = [];
    this.duration = 1;
    this.position = 0;
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  show({ tracks, gaps, duration_ms }) {
    this.tracks = tracks;
    this.gaps = gaps;
    this.duration = Math.max(1, duration_ms);
    this.draw();
  }

  moveTo(milliseconds) {
    this.position = milliseconds;
    this.draw();
  }

  draw() {
    const { canvas, tracks } = this;
    const scale = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !tracks.length) return;
    canvas.width = width * scale;
    canvas.height = height * scale;
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    const style = getComputedStyle(canvas);
    const colour = (name) => style.getPropertyValue(name).trim();
    const played = (this.position / this.duration) * width;
    const lane = height / tracks.length;
    tracks.forEach((track, number) => {
      const middle = lane * (number + 0.5);
      pen.fillStyle = colour("--line");
      pen.fillRect(0, middle - 0.5, width, 1);
      const bars = Math.min(track.peaks.length, Math.floor(width / 3));
      for (let bar = 0; bar < bars; bar += 1) {
        const from = Math.floor((bar * track.peaks.length) / bars);
        const to = Math.max(from + 1, Math.floor(((bar + 1) * track.peaks.length) / bars));
        const peak = Math.max(...track.peaks.slice(from, to)) / 100;
        const x = (bar * width) / bars;
        const tall = Math.max(1, Math.sqrt(peak) * lane * 0.86);
        pen.fillStyle = colour(x < played ? "--accent" : number === 0 ? "--wave-1" : "--wave-2");
        pen.fillRect(x, middle - tall / 2, Math.max(1, width / bars - 1), tall);
      }
    });
    for (const gap of this.gaps) this.hatch(pen, (gap.from_ms / this.duration) * width, (gap.to_ms / this.duration) * width, height, colour("--warn"));
    pen.fillStyle = colour("--ink");
    pen.fillRect(Math.min(width - 2, played), 0, 2, height);
  }

  hatch(pen, from, to, height, colour) {
    const wide = Math.max(3, to - from);
    pen.save();
    pen.beginPath();
    pen.rect(from, 0, wide, height);
    pen.clip();
    pen.strokeStyle = colour;
    pen.lineWidth = 1.5;
    for (let x = from - height; x < from + wide; x += 7) {
      pen.beginPath();
      pen.moveTo(x, height);
      pen.lineTo(x + height, 0);
      pen.stroke();
    }
    pen.restore();
  }
}
