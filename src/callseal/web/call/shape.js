// What a message may look like: a table of members, each with its check. A member missing, unknown or of another kind is refused.

import { fromBase64url } from "./bytes.js";

const isText = (value) => typeof value === "string";
const tries = (work) => (value) => {
  try {
    work(value);
    return true;
  } catch {
    return false;
  }
};

export const is = (wanted) => (value) => value === wanted;
export const oneOf = (...words) => (value) => words.includes(value);
export const b64 = (length) => tries((value) => fromBase64url(value, length));
export const hex = (length) => (value) => isText(value) && value.length === 2 * length && /^[0-9a-f]*$/.test(value);
export const whole = (least) => (value) => Number.isSafeInteger(value) && value >= least;
export const orNull = (check) => (value) => value === null || check(value);
export const list = (check, most, least = 0) => (value) =>
  Array.isArray(value) && value.length >= least && value.length <= most && value.every(check);
export const object = (table) => (value) => fits(value, table);
export const anyObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

// Text of so many characters (code points), without control characters unless they are allowed.
export const text = (least, most, controls = false) => (value) => {
  if (!isText(value) || (!controls && /[\0-\x1f\x7f-\x9f]/.test(value))) return false;
  const length = [...value].length;
  return length >= least && length <= most;
};

export const matching = (pattern) => (value) => isText(value) && pattern.test(value);

// A time in its one spelling.
export const time = (value) =>
  isText(value) && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(value) && tries((at) => {
    if (new Date(at).toISOString() !== at) throw new RangeError("time");
  })(value);

export function fits(value, table) {
  if (!anyObject(value)) return false;
  const names = Object.keys(table);
  return Object.keys(value).length === names.length && names.every((name) => Object.hasOwn(value, name) && table[name](value[name]));
}
