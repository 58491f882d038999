/** Recording on the server, labelled and signed there: the button, what is recorded, and the downloads. */

const VIEWS = { edited: "portrait only", side_by_side: "side by side" };
const FALLBACK_VIEW = "edited";

export class Recorder {
  #elements;
  #api;
  #ask;
  #tell;
  /** The recording that runs: download, view, seconds; or null. */
  #running = null;
  #numOffered = 0;

  /**
   * `elements`: button, its text, time, view (a select) and downloads. `ask(type, fields)` sends a
   * request and resolves to its ack, or to null when it was refused; `tell(sentence)` shows a notice.
   */
  constructor(elements, api, { ask, tell }) {
    this.#elements = elements;
    this.#api = api;
    this.#ask = ask;
    this.#tell = tell;
    elements.button.addEventListener("click", () => this.toggle());
  }

  /** Whether the server can record. */
  offer(canRecord) {
    const { button, view } = this.#elements;
    button.disabled = view.disabled = !canRecord;
    button.title = canRecord ? "Record what the portrait does, signed as made by AI" : "This server does not record";
  }

  /** Begin, or end and offer the file. */
  async toggle() {
    if (this.#elements.button.disabled) return;
    if (this.#running) return this.finish();
    const view = this.#elements.view.value || FALLBACK_VIEW;
    const ack = await this.#ask("recording", { action: "start", view });
    if (ack) this.#show({ download: ack.download, view, seconds: 0 });
  }

  /** End a recording, if there is one, and offer it. */
  async finish() {
    if (!this.#running) return;
    const ack = await this.#ask("recording", { action: "stop" });
    if (ack) this.#end(ack.download);
    else this.#show(null);
  }

  /** The connection ended, and a recording with it; the server keeps what there is of it. */
  ended() {
    if (this.#running) this.#end(this.#running.download);
  }

  /** What the server's figures say of the recording. */
  take(told) {
    const running = this.#running;
    if (!running || !told || told.download !== running.download) return;
    if (told.is_recording) return this.#show({ ...running, seconds: told.seconds });
    this.#tell(`The recording ended by itself: ${told.message ?? "the server stopped it"}.`);
    this.#end(running.download);
  }

  #end(download) {
    const { view, seconds } = this.#running ?? { view: FALLBACK_VIEW, seconds: 0 };
    this.#show(null);
    if (download) this.#offerDownload(download, `${VIEWS[view]}, ${clock(seconds)}`);
  }

  #show(running) {
    const { button, text, time, view } = this.#elements;
    this.#running = running;
    button.setAttribute("aria-pressed", running !== null);
    text.textContent = running ? "Stop recording" : "Record";
    time.textContent = running ? clock(running.seconds) : "";
    view.disabled = button.disabled || running !== null;
  }

  #offerDownload(path, what) {
    this.#numOffered += 1;
    const name = `recording ${this.#numOffered}`;
    const entry = document.createElement("span");
    const link = Object.assign(document.createElement("a"), {
      href: this.#api.address(path), download: "", textContent: `Download ${name} (${what})`,
    });
    const remove = Object.assign(document.createElement("button"), {
      type: "button", className: "plain", textContent: "Remove", ariaLabel: `Remove ${name}`,
    });
    remove.addEventListener("click", () => this.#remove(path, entry));
    entry.append(link, remove);
    this.#elements.downloads.append(entry);
    this.#elements.downloads.hidden = false;
  }

  async #remove(path, entry) {
    try {
      await this.#api.remove(path);
    } catch (error) {
      if (error.status !== 404) return this.#tell(error.message);
    }
    entry.remove();
    this.#elements.downloads.hidden = this.#elements.downloads.childElementCount === 0;
    this.#elements.button.focus();
  }
}

function clock(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
