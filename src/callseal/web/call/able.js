// Can this browser make a private call at all? Asked before the call, not found out within it.

import { KEM } from "./kdf.js";
import { Refused } from "./reasons.js";

async function knows(algorithm, usages) {
  try {
    await crypto.subtle.generateKey(algorithm, false, usages);
    return true;
  } catch {
    return false;
  }
}

// Returns what is missing, in plain words; an empty list where nothing is.
export async function findMissing() {
  const missing = [];
  if (!isSecureContext) missing.push("a secure connection (https)");
  if (!("RTCPeerConnection" in globalThis) || !navigator.mediaDevices?.getUserMedia) missing.push("calls in the browser (WebRTC)");
  else if (!("getRemoteCertificates" in RTCDtlsTransport.prototype)) missing.push("the check of the other side's certificate");
  if (!isSecureContext) return missing;
  if (!(await knows("Ed25519", ["sign", "verify"]))) missing.push("Ed25519 signatures");
  if (!(await knows(KEM, ["encapsulateBits", "decapsulateBits"]))) missing.push("post-quantum key agreement");
  return missing;
}

const WANTED = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };

// The microphone, by its device id or the usual one. Throws `Refused` as `no-microphone`.
export async function openMicrophone(device = "") {
  try {
    const audio = device ? { ...WANTED, deviceId: { exact: device } } : WANTED;
    return await navigator.mediaDevices.getUserMedia({ audio, video: false });
  } catch {
    throw new Refused("no-microphone");
  }
}

export async function listMicrophones() {
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices.filter(({ kind, deviceId }) => kind === "audioinput" && deviceId !== "");
}
