// Asking the console's own API: JSON in, JSON out. A change carries the page token of this session.
// A refusal is thrown as `Refusal`, with the sentence that the server gave.

export class Refusal extends Error {
  constructor(status, kind, message) {
    super(message);
    this.status = status;
    this.kind = kind;
  }
}

const pageToken = () => document.querySelector('meta[name="callseal-page"]')?.content ?? "";

async function answer(response) {
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body;
  if (response.status === 401 && !location.pathname.startsWith("/signin") && !location.pathname.startsWith("/enrol")) {
    location.assign(`/signin?next=${encodeURIComponent(location.pathname)}${location.hash}`);
  }
  throw new Refusal(response.status, body.error ?? "InternalError", body.message ?? `The server answered ${response.status}.`);
}

export async function get(path) {
  return answer(await reach(path, { headers: { Accept: "application/json" } }));
}

export async function post(path, body = {}, options = {}) {
  return answer(
    await reach(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Callseal-Page": pageToken() },
      body: JSON.stringify(body),
      ...options,
    }),
  );
}

async function reach(path, options) {
  try {
    return await fetch(path, { credentials: "same-origin", cache: "no-store", redirect: "error", ...options });
  } catch {
    throw new Refusal(0, "Unavailable", "The console cannot be reached. Is it running, and is this computer connected?");
  }
}
