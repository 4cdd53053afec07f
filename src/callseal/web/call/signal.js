// The signalling socket (docs/spec/private-call.md section 8): JSON frames, in order. The server is believed about nothing but
// words. While a call is on, a socket that was lost is opened again, and what was missed is sent again by both.

const AGAIN_MS = 300;

export class Signal {
  #socket = null;
  #closed = false;
  #keep = false;

  // `receive(frame)` takes each frame; `hello()` says what is sent first on a new socket; `gone()` is called when it is lost for good.
  constructor(url, { receive, hello, gone }) {
    Object.assign(this, { url, receive, hello, gone });
    this.#connect();
  }

  // From now on a lost socket is opened again.
  keep(value) {
    this.#keep = value;
  }

  send(frame) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  close() {
    this.#closed = true;
    this.#socket.close(1000);
  }

  #connect() {
    const socket = new WebSocket(this.url);
    this.#socket = socket;
    socket.addEventListener("open", () => this.hello());
    socket.addEventListener("message", ({ data }) => this.#take(data));
    socket.addEventListener("close", () => {
      if (this.#closed || socket !== this.#socket) return;
      if (this.#keep) setTimeout(() => this.#closed || this.#connect(), AGAIN_MS);
      else this.gone();
    });
  }

  #take(data) {
    let frame = null;
    try {
      frame = JSON.parse(data);
    } catch {
      // a frame that is none says nothing
    }
    if (typeof frame?.type === "string" && !this.#closed) this.receive(frame);
  }
}

export const socketUrl = (host, path) => `${host.replace(/^http/, "ws")}${path}`;
