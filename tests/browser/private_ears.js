// Laid under a page by the tests: a tone as its microphone, an ear on what it plays, and a look at its peer connections.
// HERTZ is the tone of this page. Nothing of the page's own code is changed.
(() => {
  let context = null;
  const audio = () => (context ??= new AudioContext({ sampleRate: 48000 }));
  const devices = navigator.mediaDevices;
  if (!devices) return;
  globalThis.asked = 0;
  devices.getUserMedia = async () => {
    asked += 1;
    const out = audio().createMediaStreamDestination();
    const tone = new OscillatorNode(audio(), { frequency: HERTZ });
    const level = new GainNode(audio(), { gain: 0.5 });
    tone.connect(level).connect(out);
    tone.start();
    return out.stream;
  };

  globalThis.connections = [];
  const Real = RTCPeerConnection;
  globalThis.RTCPeerConnection = class extends Real {
    constructor(...options) {
      super(...options);
      connections.push(this);
    }
  };

  // What a server would have to do to lie: `lie(frame)` gives the frames that come instead of one that came.
  globalThis.sockets = [];
  globalThis.lie = null;
  const RealSocket = WebSocket;
  globalThis.WebSocket = class extends RealSocket {
    constructor(...options) {
      super(...options);
      sockets.push(this);
    }

    addEventListener(kind, listen) {
      if (kind !== "message") return super.addEventListener(kind, listen);
      return super.addEventListener(kind, ({ data }) => {
        for (const frame of lie ? lie(JSON.parse(data)) : [JSON.parse(data)]) listen({ data: JSON.stringify(frame) });
      });
    }
  };

  globalThis.players = [];
  const RealAudio = Audio;
  globalThis.Audio = function (...options) {
    const player = new RealAudio(...options);
    players.push(player);
    return player;
  };

  // What is played now: hertz of the loudest line and its level in dB; null where nothing is.
  globalThis.hear = async (milliseconds = 350) => {
    const player = players.find((one) => one.srcObject && !one.paused && !one.muted);
    if (!player) return null;
    const ear = audio().createAnalyser();
    ear.fftSize = 8192;
    const source = audio().createMediaStreamSource(player.srcObject);
    source.connect(ear);
    await new Promise((resolve) => setTimeout(resolve, milliseconds));
    const lines = new Float32Array(ear.frequencyBinCount);
    ear.getFloatFrequencyData(lines);
    source.disconnect();
    const loudest = lines.reduce((best, level, at) => (level > lines[best] ? at : best), 0);
    return { hertz: (loudest * 48000) / 8192, level: lines[loudest] };
  };

  // Gaps in a tone as it is played, in milliseconds, each longer than 10: listened to for so long, frame by frame.
  globalThis.listenForGaps = async (hertz, milliseconds) => {
    const [track] = players.find((one) => one.srcObject && !one.paused).srcObject.getAudioTracks();
    const reader = new MediaStreamTrackProcessor({ track: track.clone() }).readable.getReader();
    const levels = [];
    const end = performance.now() + milliseconds;
    while (performance.now() < end) {
      const { value } = await reader.read();
      const samples = new Float32Array(value.numberOfFrames);
      value.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
      const step = (2 * Math.PI * hertz) / value.sampleRate;
      let [real, imaginary] = [0, 0];
      samples.forEach((sample, at) => {
        real += sample * Math.cos(step * at);
        imaginary += sample * Math.sin(step * at);
      });
      levels.push([Math.hypot(real, imaginary) / samples.length, (1000 * value.numberOfFrames) / value.sampleRate]);
      value.close();
    }
    await reader.cancel();
    const usual = levels.map(([level]) => level).sort((a, b) => a - b)[Math.floor(levels.length / 2)];
    const gaps = [];
    let gap = 0;
    for (const [level, length] of levels) {
      if (level < usual * 0.1) gap += length;
      else if (gap) {
        gaps.push(gap);
        gap = 0;
      }
    }
    return { usual, frames: levels.length, gaps: gap ? [...gaps, gap] : gaps };
  };
})();
