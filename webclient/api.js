/** The server's HTTP as functions; every failure is an ApiError with a sentence for the user. */

import { sentence } from "./sentence.js";

const TOKEN_KEY = "difffae.token";
const SENTENCES = {
  401: "This server asks for a token; open the address the server printed, or enter the token.",
  403: "The server wants consent to its present text; tick it again and start.",
  404: "The server no longer knows this; choose the portrait again.",
  413: "The picture is too large for this server; send a smaller one.",
  415: "The server takes JPEG, PNG or WebP pictures only; choose another file.",
  429: "Too many requests were sent; it is tried again by itself.",
  503: "All places on this server are taken; it is tried again by itself.",
};

export class ApiError extends Error {
  constructor({ status, code, message, retryAfter }) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }

  /** Whether trying again later may help without the user doing anything. */
  get isPassing() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

export class Api {
  /** Take the token of `?token=` out of the address, so that it is not shared with it. */
  constructor() {
    const address = new URL(location.href);
    const token = address.searchParams.get("token");
    if (token) {
      this.token = token;
      address.searchParams.delete("token");
      history.replaceState(null, "", address);
    }
  }

  get token() {
    return sessionStorage.getItem(TOKEN_KEY) ?? "";
  }

  set token(token) {
    sessionStorage.setItem(TOKEN_KEY, token);
  }

  async config() {
    return (await this.#send("/api/config")).json();
  }

  /** Where a path of this server is reached by a plain link, which cannot carry a header. */
  address(path) {
    return this.token ? `${path}?token=${encodeURIComponent(this.token)}` : path;
  }

  async remove(path) {
    await this.#send(path, { method: "DELETE" });
  }

  /** The bytes of a picture; only paths of this server. */
  async blob(path) {
    return (await this.#send(path)).blob();
  }

  picture(portrait) {
    return this.blob(`/api/portraits/${encodeURIComponent(portrait)}/picture`);
  }

  async uploadPortrait(file, consent) {
    const headers = { "Content-Type": file.type, "X-Consent": consent };
    return (await this.#send("/api/portraits", { method: "POST", headers, body: file })).json();
  }

  async createSession(offer, signal) {
    const headers = { "Content-Type": "application/json" };
    const body = JSON.stringify(offer);
    return (await this.#send("/api/sessions", { method: "POST", headers, body, signal })).json();
  }

  /** State, message and figures of a session. */
  async session(session) {
    return (await this.#send(`/api/sessions/${encodeURIComponent(session)}`)).json();
  }

  /** End a session; also while the page goes away, so nothing is awaited from it. */
  async deleteSession(session) {
    const path = `/api/sessions/${encodeURIComponent(session)}`;
    const options = { method: "DELETE", keepalive: true, signal: AbortSignal.timeout(3000) };
    await this.#send(path, options).catch(() => undefined);
  }

  async #send(path, { headers = {}, ...options } = {}) {
    const authorization = this.token ? { Authorization: `Bearer ${this.token}` } : {};
    let response;
    try {
      response = await fetch(path, { ...options, headers: { ...headers, ...authorization } });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      const message = "The server does not answer; check that it runs and that you are online.";
      throw new ApiError({ status: 0, code: "unreachable", message });
    }
    if (!response.ok) throw await failure(response);
    return response;
  }
}

async function failure(response) {
  const body = await response.json().catch(() => ({}));
  const fallback = `The server answered ${response.status}; reload the page and try again.`;
  return new ApiError({
    status: response.status,
    code: body.error?.code ?? "unknown",
    message: sentence(body.error?.message ?? SENTENCES[response.status] ?? fallback),
    retryAfter: Number.parseInt(response.headers.get("Retry-After") ?? "", 10) || undefined,
  });
}
