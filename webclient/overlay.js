/** The figures of the stream: the server's once a second, the browser's from getStats. */

const EVERY_MS = 1000;

/** Pick what matters out of a getStats report; rates come from two of them. */
export function measure(report, earlier, seconds) {
  const all = [...report.values()];
  const video = all.find((each) => each.type === "inbound-rtp" && each.kind === "video") ?? {};
  const sent = all.find((each) => each.type === "outbound-rtp" && each.kind === "video") ?? {};
  const pair = all.find((each) => each.type === "candidate-pair" && each.nominated) ?? {};
  const totals = {
    framesDecoded: video.framesDecoded ?? 0, bytesReceived: video.bytesReceived ?? 0, bytesSent: sent.bytesSent ?? 0,
    jitterBufferDelay: video.jitterBufferDelay ?? 0, jitterBufferEmittedCount: video.jitterBufferEmittedCount ?? 0,
  };
  const rise = (name) => totals[name] - (earlier?.[name] ?? totals[name]);
  const emitted = rise("jitterBufferEmittedCount");
  return {
    totals,
    fps: seconds ? rise("framesDecoded") / seconds : 0,
    round_trip_ms: (pair.currentRoundTripTime ?? 0) * 1000,
    jitter_buffer_ms: emitted ? (rise("jitterBufferDelay") / emitted) * 1000 : 0,
    received_kbit_s: seconds ? (rise("bytesReceived") * 8) / 1000 / seconds : 0,
    sent_kbit_s: seconds ? (rise("bytesSent") * 8) / 1000 / seconds : 0,
    width: video.frameWidth ?? 0, height: video.frameHeight ?? 0,
    camera_width: sent.frameWidth ?? 0, camera_height: sent.frameHeight ?? 0,
    framesDropped: video.framesDropped ?? 0, freezeCount: video.freezeCount ?? 0, packetsLost: video.packetsLost ?? 0,
  };
}

export class Overlay {
  #element;
  #body;
  #peer;
  #server = null;
  #browser = null;
  #earlier = null;

  /** `peer()` is the present RTCPeerConnection or null. */
  constructor(element, body, peer) {
    this.#element = element;
    this.#body = body;
    this.#peer = peer;
    setInterval(() => this.#tick(), EVERY_MS);
  }

  get isShown() {
    return !this.#element.hidden;
  }

  toggle() {
    this.#element.hidden = !this.#element.hidden;
    this.#show();
  }

  /** The server's stats message. */
  take(message) {
    const { type: _type, ...figures } = message;
    this.#server = figures;
  }

  clear() {
    [this.#server, this.#browser, this.#earlier] = [null, null, null];
    this.#show();
  }

  json() {
    const time = new Date().toISOString();
    return JSON.stringify({ time, server: this.#server, browser: this.#browser }, null, 2);
  }

  async #tick() {
    const peer = this.#peer();
    if (!peer || peer.connectionState !== "connected") return;
    const report = await peer.getStats();
    const now = performance.now();
    const earlier = this.#earlier?.peer === peer ? this.#earlier : null;
    const seconds = earlier ? (now - earlier.now) / 1000 : 0;
    this.#browser = measure(report, earlier?.totals, seconds);
    this.#earlier = { peer, now, totals: this.#browser.totals };
    this.#show();
  }

  #show() {
    if (!this.isShown) return;
    this.#body.replaceChildren(...this.#rows().map(([name, value]) => row(name, value)));
  }

  #rows() {
    const [browser, server] = [this.#browser, this.#server];
    if (!browser) return [["No stream yet", ""]];
    const rows = [
      ["Here", null],
      ["frames a second", browser.fps.toFixed(1)],
      ["round trip", `${browser.round_trip_ms.toFixed(0)} ms`],
      ["jitter buffer", `${browser.jitter_buffer_ms.toFixed(0)} ms`],
      ["picture", `${browser.width} × ${browser.height}`],
      ["camera", `${browser.camera_width} × ${browser.camera_height}`],
      ["down", `${browser.received_kbit_s.toFixed(0)} kbit/s`],
      ["up", `${browser.sent_kbit_s.toFixed(0)} kbit/s`],
      ["freezes, lost", `${browser.freezeCount}, ${browser.packetsLost}`],
    ];
    return server ? [...rows, ...serverRows(server)] : rows;
  }
}

function serverRows(server) {
  const number = (value) => (Number.isFinite(value) ? value.toFixed(1) : "–");
  const stages = Object.entries(server.stages_ms ?? {});
  return [
    ["Server", null],
    ["frames a second", number(server.fps)],
    ["received, dropped", `${server.received ?? "–"}, ${server.dropped ?? "–"}`],
    ["load level", `${server.load_level ?? "–"}`],
    ...(stages.length ? [["Stage, ms", "p50 / p95"]] : []),
    ...stages.map(([name, { p50, p95 }]) => [name, `${number(p50)} / ${number(p95)}`]),
  ];
}

function row(name, value) {
  const line = document.createElement("tr");
  const head = Object.assign(document.createElement("th"), { textContent: name, scope: "row" });
  if (value === null || name.startsWith("Stage")) line.className = "group";
  line.append(head, Object.assign(document.createElement("td"), { textContent: value ?? "" }));
  return line;
}
