// Why a call ended (docs/spec/private-call.md section 9): outcome by reason, and what each says to a person.
// A refusal is thrown as `Refused` with its reason; nobody goes on after one.

export class Refused extends Error {
  constructor(reason, detail = "") {
    super(detail ? `${reason}: ${detail}` : reason);
    this.reason = reason;
  }
}

const OUTCOMES = {
  completed: ["bye"],
  missed: ["missed", "unattended"],
  busy: ["busy"],
  declined: ["declined"],
  expired: ["expired", "used", "unknown-call", "link-damaged"],
  identity: [
    "malformed", "wrong-call", "version", "manifest-malformed", "root-unknown", "manifest-signature", "manifest-expired",
    "manifest-rolled-back", "manifest-unlogged", "log-signature", "log-stale", "witness-missing", "device-unknown",
    "device-expired", "device-revoked", "signature", "mac", "commitment", "fingerprint", "sdp-changed", "sdp", "policy", "replayed",
  ],
  failed: [
    "no-offer", "no-answer", "no-proof", "no-media", "no-relay", "no-microphone", "no-browser", "too-long", "lost", "left",
    "server", "too-many",
  ],
};

const outcomes = new Map(Object.entries(OUTCOMES).flatMap(([outcome, reasons]) => reasons.map((reason) => [reason, outcome])));

// A reason nobody knows is the server's own affair; `bye` counts only where the peer proved it.
export const known = (reason) => (outcomes.has(reason) && reason !== "bye" ? reason : "server");
export const outcomeOf = (reason) => outcomes.get(reason) ?? "failed";

export const TITLES = {
  completed: "The call has ended",
  missed: "Nobody answered",
  busy: "They are on another call",
  declined: "The call was declined",
  expired: "This link can no longer be used",
  identity: "Identity check failed",
  failed: "The call could not go on",
};

const WORDS = {
  bye: "You can close this page. Nothing was recorded.",
  missed: "It rang, but the call was not taken in time.",
  unattended: "Nobody has the page open that answers private calls at the moment.",
  busy: "Please try again in a few minutes.",
  declined: "The other side chose not to speak now.",
  expired: "The time for this link has passed. Ask for a new one.",
  used: "A link works for one call only, and this one has been used. Ask for a new one.",
  "unknown-call": "The other side does not know this link any more. Ask for a new one.",
  "link-damaged": "Part of the link is missing. Copy the whole link, to its last character, and open it again.",
  "manifest-expired": "The proof of who they are has run out, or the clock of this device is wrong.",
  "manifest-rolled-back": "An older proof of who they are was shown than the newest known one.",
  "manifest-unlogged": "The proof of who they are is not in the public log.",
  "log-stale": "No independent witness has confirmed the log lately, or the clock of this device is wrong.",
  "witness-missing": "No independent witness has confirmed the log.",
  "device-unknown": "The device that answered is not one of this business.",
  "device-expired": "The device that answered is no longer trusted: its time has run out.",
  "device-revoked": "The device that answered was withdrawn by this business.",
  "root-unknown": "The link names another business than the one that answered.",
  fingerprint: "Somebody stood between the two of you, or tried to. Your microphone was not connected to them.",
  policy: "Other terms were asked for than a private, unrecorded call of two people.",
  sdp: "A connection was asked for that would protect you less.",
  replayed: "An old message was shown as if it were new.",
  "no-offer": "The page did not begin the call in time.",
  "no-answer": "The other side's page did not answer in time.",
  "no-proof": "The other side's page did not prove itself in time.",
  "no-media": "No sound could be carried between the two of you. A firewall may be in the way; try another network.",
  "no-relay": "The relay that carries the call cannot be reached from here. Try another network.",
  "no-microphone": "The page may not use the microphone. Allow it in your browser, or plug one in, and try again.",
  "no-browser": "This browser cannot make a private call. Use a current Chrome, Edge, Firefox or Safari.",
  "too-long": "A call ends by itself after four hours.",
  lost: "The connection was lost and did not come back.",
  left: "The other side has gone, or its connection was lost.",
  server: "The server that connects the two of you could not do it.",
  "too-many": "There are too many calls at the moment. Please try again in a few minutes.",
};

export const wordsOf = (reason) =>
  WORDS[reason] ?? "It could not be proved that you were connected to the right people, so the call was ended. Nothing you said was sent.";
