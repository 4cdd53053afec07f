// Canonical JSON (RFC 8785) of the values we exchange: strings, safe whole numbers, booleans, null, arrays and objects.
// Anything else throws a RangeError, and so does a text that is not the canonical one of its value.

import { fromText, toText } from "./bytes.js";

export const DEPTH = 16;

export const encode = (value) => fromText(write(value, 0));

export function decode(bytes) {
  const text = toText(bytes);
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    throw new RangeError("JSON: malformed");
  }
  if (write(value, 0) !== text) throw new RangeError("JSON: expected its canonical form (RFC 8785)");
  return value;
}

function write(value, depth) {
  if (depth > DEPTH) throw new RangeError("JSON: nested too deep");
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "string") {
    if (!value.isWellFormed()) throw new RangeError("JSON: a lone surrogate");
    return JSON.stringify(value);
  }
  if (typeof value === "number") {
    if (!Number.isSafeInteger(value) || Object.is(value, -0)) throw new RangeError("JSON: expected a safe whole number");
    return String(value);
  }
  if (Array.isArray(value)) return `[${value.map((item) => write(item, depth + 1)).join(",")}]`;
  if (typeof value !== "object") throw new RangeError(`JSON: ${typeof value} is no value`);
  const pairs = Object.keys(value).sort().map((key) => `${write(key, depth + 1)}:${write(value[key], depth + 1)}`);
  return `{${pairs.join(",")}}`;
}
