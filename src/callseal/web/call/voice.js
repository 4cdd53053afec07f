// The sound between two browsers: one peer connection, relayed, whose keys no script can read (RFC 8829, DTLS-SRTP).
//
// Invariants: no microphone is attached and nothing is played before `prove` found the peer's certificate to be the signed one;
// packets leave at a constant rate for as long as the call lasts (on hold and muted they carry silence), so that their timing
// says nothing, and a network that has gone away shows within a second.

import { toHex } from "./bytes.js";
import { hash } from "./kdf.js";
import { Refused } from "./reasons.js";
import { checkSdp, keepToProfile, narrow } from "./sdp.js";

const GATHER_MS = 5000;
const CONNECT_MS = 9000;
const LOOK_MS = 250;

const after = (milliseconds, make) => new Promise((_, reject) => setTimeout(() => reject(make()), milliseconds));

export class Voice {
  #proven = false;
  #microphone = null;
  #muted = false;
  #context = null;
  #silence = null;
  #watching = null;

  static async create(ice) {
    const certificate = await RTCPeerConnection.generateCertificate({ name: "ECDSA", namedCurve: "P-256" });
    return new Voice(ice, certificate);
  }

  constructor({ urls, username, credential }, certificate) {
    this.connection = new RTCPeerConnection({
      iceServers: [{ urls, username, credential }], iceTransportPolicy: "relay", bundlePolicy: "max-bundle",
      rtcpMuxPolicy: "require", certificates: [certificate],
    });
    this.player = new Audio();
    this.connection.addEventListener("track", ({ track }) => (this.incoming = track));
  }

  async offer(restart = false) {
    if (!this.transceiver) {
      this.transceiver = this.connection.addTransceiver("audio", { direction: "sendrecv" });
      narrow(this.transceiver);
    }
    return this.#describe(await this.connection.createOffer({ iceRestart: restart }));
  }

  // The offer was verified by the handshake, or by a later message.
  async answer(offer) {
    await this.connection.setRemoteDescription({ type: "offer", sdp: offer });
    if (!this.transceiver) {
      [this.transceiver] = this.connection.getTransceivers();
      this.transceiver.direction = "sendrecv";
      narrow(this.transceiver);
    }
    return this.#describe(await this.connection.createAnswer());
  }

  accept(answer) {
    return this.connection.setRemoteDescription({ type: "answer", sdp: answer });
  }

  // Complete with its candidates: they are part of what is hashed.
  async #describe({ type, sdp }) {
    const gathered = new Promise((resolve) => {
      this.connection.onicecandidate = ({ candidate }) => candidate || resolve(); // null: there are no more
    });
    await this.connection.setLocalDescription({ type, sdp: keepToProfile(sdp) });
    await Promise.race([gathered, after(GATHER_MS, () => null)]).catch(() => {});
    const described = this.connection.localDescription.sdp;
    if (!/^a=candidate:/m.test(described)) throw new Refused("no-relay");
    this.fingerprint = toHex(checkSdp(described, type)); // what we promise ourselves keeps to the profile, or is not sent
    return described;
  }

  // Connected, and to the certificate that was signed (hex); asked again after each later description.
  async prove(fingerprint) {
    await Promise.race([this.#connected(), after(CONNECT_MS, () => new Refused("no-media"))]);
    const [certificate] = this.transceiver.sender.transport.getRemoteCertificates();
    if (certificate === undefined || toHex(await hash(certificate)) !== fingerprint) throw new Refused("fingerprint");
    this.#proven = true;
  }

  #connected() {
    return new Promise((resolve, reject) => {
      const { transport } = this.transceiver.sender;
      const look = () => {
        if (transport.state === "connected") resolve();
        if (["failed", "closed"].includes(transport.state)) reject(new Refused("no-media"));
      };
      transport.addEventListener("statechange", look);
      look();
    });
  }

  // Speak and hear. The microphone is ours to stop when the call is over.
  async open(stream) {
    if (!this.#proven) throw new Refused("fingerprint", "the peer is not proven");
    [this.#microphone] = stream.getAudioTracks();
    this.#microphone.enabled = !this.#muted;
    this.#context = new AudioContext();
    [this.#silence] = this.#context.createMediaStreamDestination().stream.getAudioTracks();
    await this.transceiver.sender.replaceTrack(this.#microphone);
    this.player.srcObject = new MediaStream([this.incoming]);
    await this.player.play();
  }

  // Muted, silence goes out; it may be asked for before anybody speaks.
  mute(value) {
    this.#muted = value;
    if (this.#microphone) this.#microphone.enabled = !value;
  }

  // Another microphone, from now on.
  async use(stream) {
    if (!this.#microphone) return;
    const [track] = stream.getAudioTracks();
    track.enabled = !this.#muted;
    if (this.transceiver.sender.track === this.#microphone) await this.transceiver.sender.replaceTrack(track);
    this.#microphone.stop();
    this.#microphone = track;
  }

  // Silence goes out and nothing comes in, at the same rate as speech.
  async hold() {
    await this.transceiver.sender.replaceTrack(this.#silence);
    this.player.muted = true;
  }

  async resume() {
    await this.transceiver.sender.replaceTrack(this.#microphone);
    this.player.muted = false;
  }

  // Calls `tell` with how long no packet has come, in milliseconds, four times a second.
  watch(tell) {
    let [packets, since] = [-1, performance.now()];
    this.#watching = setInterval(async () => {
      const received = await this.#packetsReceived();
      if (received !== packets) [packets, since] = [received, performance.now()];
      tell(performance.now() - since);
    }, LOOK_MS);
  }

  async #packetsReceived() {
    let received = 0;
    const report = await this.transceiver.receiver.getStats().catch(() => new Map());
    report.forEach((item) => (received += item.type === "inbound-rtp" ? item.packetsReceived : 0));
    return received;
  }

  close() {
    clearInterval(this.#watching);
    this.connection.close();
    this.#microphone?.stop();
    this.#context?.close();
    this.#context = null;
    this.player.srcObject = null;
  }
}
