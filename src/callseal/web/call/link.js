// The link's fragment (docs/spec/private-call.md section 3): `i.<kid>.<psk>.<call>` or `p.<kid>`. It is taken out of the address
// at once, stands in memory only, and is never part of a request.

import { fromBase64url } from "./bytes.js";
import { Refused } from "./reasons.js";

export function takeFragment() {
  const fragment = location.hash.slice(1);
  history.replaceState(null, "", location.pathname);
  return fragment;
}

// Throws `Refused` as `link-damaged`; null where there was no fragment at all.
export function parseFragment(fragment) {
  if (fragment === "") return null;
  const [kind, ...parts] = fragment.split(".");
  try {
    if (kind === "p" && parts.length === 1) return { kid: fromBase64url(parts[0], 32), psk: null, call: null };
    if (kind === "i" && parts.length === 3) {
      const [kid, psk] = [fromBase64url(parts[0], 32), fromBase64url(parts[1], 16)];
      fromBase64url(parts[2], 16);
      if (psk.every((byte) => byte === 0)) throw new RangeError("psk");
      return { kid, psk, call: parts[2] };
    }
  } catch {
    // said below
  }
  throw new Refused("link-damaged");
}

export const spellInvitation = (origin, kid, psk, call) => `${origin}/#i.${kid}.${psk}.${call}`;
export const spellPublic = (origin, kid) => `${origin}/#p.${kid}`;
