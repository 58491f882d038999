/** Requests over the data channel "control", each answered by an ack or an error. */

import { sentence } from "./sentence.js";

const PATIENCE_MS = 5000;

export class ControlError extends Error {}

export class ControlChannel extends EventTarget {
  #channel;
  #waiting = new Map();
  #lastId = 0;

  constructor(channel) {
    super();
    this.#channel = channel;
    channel.addEventListener("open", () => this.dispatchEvent(new Event("open")));
    channel.addEventListener("close", () => this.#closed());
    channel.addEventListener("message", (event) => this.#received(event.data));
  }

  get isOpen() {
    return this.#channel.readyState === "open";
  }

  /** Resolves on the server's ack; rejects with a ControlError on its error or silence. */
  request(type, fields = {}, patience = PATIENCE_MS) {
    if (!this.isOpen) return Promise.reject(new ControlError("There is no connection; start first."));
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      const silence = () => this.#settle(id, "The server did not answer; try again.");
      this.#waiting.set(id, { resolve, reject, timer: setTimeout(silence, patience) });
      this.#channel.send(JSON.stringify({ id, type, ...fields }));
    });
  }

  close() {
    this.#channel.close();
  }

  #received(text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return;
    }
    if (message.type === "ack") this.#settle(message.id, null, message);
    else if (message.type === "error" && this.#waiting.has(message.id)) this.#settle(message.id, message.message);
    else this.dispatchEvent(new CustomEvent("message", { detail: message }));
  }

  #settle(id, problem, answer) {
    const waiter = this.#waiting.get(id);
    if (!waiter) return;
    this.#waiting.delete(id);
    clearTimeout(waiter.timer);
    if (problem) waiter.reject(new ControlError(sentence(problem)));
    else waiter.resolve(answer);
  }

  #closed() {
    for (const id of [...this.#waiting.keys()]) this.#settle(id, "The connection was lost; it comes back by itself.");
    this.dispatchEvent(new Event("close"));
  }
}
