/** The state line, the veil over the picture, and notices. */

import { sentence } from "./sentence.js";

const SERVER_STATES = {
  connecting: ["busy", "Connecting…"],
  warming: ["busy", "The model is warming up; this takes a moment."],
  ready: ["ready", "Ready; look into the camera."],
  streaming: ["streaming", "Live: the portrait follows you."],
  face_lost: ["busy", "No face to follow; move into the middle of the camera's picture."],
  several_faces: ["busy", "Several faces are in the picture; the portrait follows the one seen first."],
  recovering: ["busy", "The model is starting again; your session goes on by itself in a few seconds."],
  closed: ["error", "The server ended the session; start again."],
};
const THIN = new Set(["face_lost", "several_faces"]);
const CLEAR = new Set(["streaming", "ready"]);

export class Status {
  #elements;

  /** `elements`: line, state, countdown, veil, veilText, spinner, notice, noticeText, noticeClose. */
  constructor(elements) {
    this.#elements = elements;
    elements.noticeClose.addEventListener("click", () => this.notice(""));
  }

  /** The server's word on what it does. */
  server({ state, message }) {
    const [tone, usual] = SERVER_STATES[state] ?? ["busy", state];
    const words = sentence(message || usual);
    this.#line(tone, words);
    this.#veil(CLEAR.has(state) ? "" : words, { isThin: THIN.has(state), isBusy: !THIN.has(state) });
  }

  /** The page's own word; `seconds` counts down beside it and is not read out each time. */
  page(tone, message, seconds = null) {
    this.#line(tone, message);
    this.#elements.countdown.textContent = seconds === null ? "" : `again in ${seconds} s`;
    const text = seconds === null ? message : `${message} Again in ${seconds} s.`;
    this.#veil(text, { isThin: false, isBusy: tone === "busy" });
  }

  /** A problem that wants the user; "" takes it away. */
  notice(sentence) {
    this.#elements.notice.hidden = !sentence;
    this.#elements.noticeText.textContent = sentence;
  }

  #line(tone, message) {
    this.#elements.line.dataset.state = tone;
    this.#elements.countdown.textContent = "";
    if (this.#elements.state.textContent !== message) this.#elements.state.textContent = message;
  }

  #veil(text, { isThin, isBusy }) {
    this.#elements.veil.hidden = !text;
    this.#elements.veil.classList.toggle("thin", isThin);
    this.#elements.veilText.textContent = text;
    this.#elements.spinner.hidden = !isBusy;
  }
}
