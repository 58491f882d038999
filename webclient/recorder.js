/** The record button, and the way to what the server recorded. */

export class Recorder {
  #button;
  #downloads;
  #api;
  #ask;

  /** `ask(type, fields)` sends a request and resolves to its ack, or to null when it was refused. */
  constructor({ button, downloads }, api, ask) {
    this.#button = button;
    this.#downloads = downloads;
    this.#api = api;
    this.#ask = ask;
    button.addEventListener("click", () => (this.#isRecording ? this.finish() : this.#begin()));
  }

  get #isRecording() {
    return this.#button.getAttribute("aria-pressed") === "true";
  }

  /** Whether the server can record. */
  offer(canRecord) {
    this.#button.disabled = !canRecord;
    this.#button.title = canRecord ? "Record what the portrait does, signed as made by AI" : "This server does not record";
  }

  /** The connection ended, and a recording with it. */
  ended() {
    this.#show(false);
  }

  /** End a recording, if there is one, and offer it. */
  async finish() {
    if (!this.#isRecording) return;
    const ack = await this.#ask("recording", { action: "stop" });
    this.#show(false);
    if (ack?.download) this.#offerDownload(ack.download);
  }

  async #begin() {
    if (await this.#ask("recording", { action: "start" })) this.#show(true);
  }

  #show(isRecording) {
    this.#button.setAttribute("aria-pressed", isRecording);
    this.#button.textContent = isRecording ? "Stop recording" : "Record";
  }

  /** A button, as a plain link could not carry the token. */
  #offerDownload(path) {
    const name = path.split("/").pop();
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: `Download ${name}` });
    button.addEventListener("click", () => this.#download(path, name, button));
    this.#downloads.append(button);
    this.#downloads.hidden = false;
  }

  async #download(path, name, button) {
    try {
      const address = URL.createObjectURL(await this.#api.blob(path));
      Object.assign(document.createElement("a"), { href: address, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60000);
    } catch (error) {
      button.textContent = `${error.message} Press to try again.`;
    }
  }
}
