// Session descriptions (RFC 8866, 8829, 8122), held to the one profile that a private call speaks. What a peer's description
// says is decided here, before a browser is given it.
//
// The profile: one m-line of audio over UDP/TLS/RTP/SAVPF; one payload type, Opus at a constant rate without silence gaps
// (cbr=1, usedtx=0: RFC 6562 says what varying sizes give away); one sha-256 fingerprint; no header extension but the m-line's
// name; RTP and RTCP on one port; relayed candidates only, so that neither side learns the other's address.

import { fromHex } from "./bytes.js";
import { Refused } from "./reasons.js";

const MID = "urn:ietf:params:rtp-hdrext:sdes:mid";
const LIMIT_CHARACTERS = 16384;
const SETUPS = { offer: ["actpass"], answer: ["active", "passive"] };
const RELAYED = /^a=candidate:\S+ \d+ udp \d+ \S+ \d+ typ relay(?: |$)/i;

// Ask our own browser for the profile: the one codec, the one extension.
export function narrow(transceiver) {
  const opus = RTCRtpReceiver.getCapabilities("audio").codecs.filter((codec) => codec.mimeType.toLowerCase() === "audio/opus");
  transceiver.setCodecPreferences(opus);
  if (!transceiver.getHeaderExtensionsToNegotiate) return; // left out of the description below
  const offered = transceiver.getHeaderExtensionsToNegotiate();
  const wanted = offered.map((item) => ({ ...item, direction: item.uri === MID ? "sendrecv" : "stopped" }));
  transceiver.setHeaderExtensionsToNegotiate(wanted);
}

// The constant rate has no switch of its own in a browser: it is written into our description before that is set.
export function keepToProfile(sdp) {
  const type = /^a=rtpmap:(\d+) opus\/48000\/2/im.exec(sdp)?.[1];
  if (type === undefined) throw new Refused("no-browser", "no Opus");
  const plain = sdp.replace(/^a=extmap:\S+ (\S+).*\r\n/gm, (line, uri) => (uri === MID ? line : ""));
  return plain.replace(new RegExp(`^a=fmtp:${type} (.*)$`, "gm"), (_, rest) => {
    const kept = rest.trim().split(";").filter((item) => !/^(cbr|usedtx)=/.test(item));
    return `a=fmtp:${type} ${[...kept, "cbr=1", "usedtx=0"].join(";")}`;
  });
}

// Returns the SHA-256 of the certificate that the description promises (32 bytes). Throws `Refused`.
export function checkSdp(sdp, kind) {
  if (typeof sdp !== "string" || sdp.length > LIMIT_CHARACTERS || !sdp.endsWith("\r\n")) throw bad("expected CRLF lines within 16 KiB");
  const lines = sdp.slice(0, -2).split("\r\n");
  if (lines.some((line) => /[\r\n]/.test(line))) throw bad("expected CRLF lines");
  const starting = (start) => lines.filter((line) => line.toLowerCase().startsWith(start));
  const media = starting("m=");
  const line = media.length === 1 ? /^m=audio \d+ UDP\/TLS\/RTP\/SAVPF (\d+)$/.exec(media[0]) : null;
  if (!line) throw bad("expected one m-line of audio over UDP/TLS/RTP/SAVPF with one payload type");
  checkCodec(starting, line[1]);
  checkTransport(starting, kind);
  return readFingerprint(starting("a=fingerprint:"));
}

const bad = (detail) => new Refused("sdp", detail);

function checkCodec(starting, type) {
  const maps = starting("a=rtpmap:");
  if (maps.length !== 1 || maps[0].toLowerCase() !== `a=rtpmap:${type} opus/48000/2`) throw bad("expected Opus only");
  const formats = starting("a=fmtp:");
  const settings = formats.length === 1 && formats[0].startsWith(`a=fmtp:${type} `) ? formats[0].slice(`a=fmtp:${type} `.length).split(";") : [];
  for (const [name, value] of [["cbr", "1"], ["usedtx", "0"]]) {
    const found = settings.map((item) => item.trim().split("=")).filter(([key]) => key === name);
    if (found.length !== 1 || found[0][1] !== value) throw bad(`expected ${name}=${value}`);
  }
}

function checkTransport(starting, kind) {
  const setups = starting("a=setup:").map((item) => item.slice("a=setup:".length));
  if (setups.length !== 1 || !SETUPS[kind].includes(setups[0])) throw bad("setup: expected the one of its kind");
  if (starting("a=crypto:").length) throw bad("expected DTLS only, got SDES");
  if (starting("a=rtcp-mux").length < 1) throw bad("expected RTP and RTCP on one port");
  const extensions = starting("a=extmap:").map((item) => item.split(" ")[1]);
  if (extensions.some((uri) => uri !== MID)) throw bad("expected no header extension but the m-line's name");
  const candidates = starting("a=candidate:");
  if (!candidates.length || !candidates.every((item) => RELAYED.test(item))) throw bad("expected relayed candidates, and no others");
}

function readFingerprint(found) {
  const digest = found.length === 1 ? /^a=fingerprint:sha-256 ((?:[0-9a-f]{2}:){31}[0-9a-f]{2})$/i.exec(found[0]) : null;
  if (!digest) throw bad("expected one fingerprint, of SHA-256");
  return fromHex(digest[1].replaceAll(":", "").toLowerCase());
}
