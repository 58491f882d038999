/** One stay with the server: connects, and connects again by itself until stopped. */

import { ApiError } from "./api.js";
import { ControlChannel } from "./channel.js";
import { sentence } from "./sentence.js";

const GATHER_MS = 2000;
const CONNECT_MS = 20000;
const BLINK_MS = 4000;
const FIRST_WAIT_S = 1;
const LONGEST_WAIT_S = 15;
const LOST = "The connection was lost; it comes back by itself.";

/**
 * Events: "phase" (detail: phase, message, seconds) with the phases connecting, connected, waiting,
 * full, failed, ended; "track" (detail: the stream); "message" (detail: the server's); "open".
 */
export class Session extends EventTarget {
  #calls;
  #stopped = new AbortController();
  #peer = null;
  #id = null;
  channel = null;

  /**
   * `calls`: iceServers() asked for each connection as their credentials expire; create(offer, signal)
   * resolves to the answer with its id; end(id) ends that session.
   */
  constructor(calls) {
    super();
    this.#calls = calls;
  }

  get isStopped() {
    return this.#stopped.signal.aborted;
  }

  get id() {
    return this.#id;
  }

  get peer() {
    return this.#peer;
  }

  /** Stay connected until `stop`, or until trying again is of no use. */
  async run(stream, describe) {
    let numFailures = 0;
    while (!this.isStopped) {
      const problem = await this.#stay(stream, describe, () => (numFailures = 0)).catch((error) => error);
      await this.#hangUp();
      if (this.isStopped) return;
      if (!problem.isPassing) {
        this.#tell("failed", { message: problem.message, status: problem.status });
        return this.stop();
      }
      const wait = problem.retryAfter ?? Math.min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** numFailures);
      numFailures += 1;
      await this.#countDown(wait, problem);
    }
  }

  async stop() {
    this.#stopped.abort();
    await this.#hangUp();
  }

  /** Another camera without a new connection; false where the connection has no place for its sound. */
  async replaceTracks(stream) {
    const senders = this.#peer?.getTransceivers().map((transceiver) => transceiver.sender) ?? [];
    for (const [index, kind] of ["video", "audio"].entries()) {
      const track = stream.getTracks().find((each) => each.kind === kind) ?? null;
      await senders[index]?.replaceTrack(track);
    }
  }

  /** Send no more frames of the camera a second than the server can use; null: all there are. */
  async limitCamera(framesPerSecond) {
    const sender = this.#peer?.getTransceivers()[0]?.sender;
    const parameters = sender?.getParameters() ?? {};
    const encodings = parameters.encodings ?? [];
    if (encodings.every(({ maxFramerate }) => (maxFramerate ?? null) === framesPerSecond)) return;
    for (const encoding of encodings) {
      if (framesPerSecond === null) delete encoding.maxFramerate;
      else encoding.maxFramerate = framesPerSecond;
    }
    await sender.setParameters(parameters).catch(() => undefined);
  }

  /** Leave and come back at once, for what only a new session can change. */
  renew() {
    this.#peer?.dispatchEvent(new Event("renew"));
  }

  /** One connection from offer to loss; resolves or rejects with what ended it. */
  async #stay(stream, describe, onConnected) {
    this.#tell("connecting", { message: "Connecting…" });
    const peer = new RTCPeerConnection({ iceServers: await this.#calls.iceServers() });
    if (this.isStopped) return peer.close();
    this.#peer = peer;
    this.#addTracks(peer, stream);
    const lost = this.#whenLost(peer, onConnected);
    await peer.setLocalDescription();
    await gathered(peer);
    const { sdp, type } = peer.localDescription;
    const answer = await this.#calls.create({ sdp, type, ...describe() }, this.#stopped.signal);
    this.#id = answer.id;
    if (this.isStopped) return null;
    await peer.setRemoteDescription({ sdp: answer.sdp, type: answer.type });
    return lost;
  }

  #addTracks(peer, stream) {
    for (const kind of ["video", "audio"]) {
      const track = stream.getTracks().find((each) => each.kind === kind);
      peer.addTransceiver(track ?? kind, { direction: "sendrecv", streams: [stream] });
    }
    this.channel = new ControlChannel(peer.createDataChannel("control"));
    this.channel.addEventListener("open", () => this.dispatchEvent(new Event("open")));
    const remote = new MediaStream();
    peer.addEventListener("track", ({ track, receiver }) => {
      if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
      remote.addTrack(track);
      this.dispatchEvent(new CustomEvent("track", { detail: remote }));
    });
  }

  #whenLost(peer, onConnected) {
    return new Promise((resolve) => {
      const lose = (fields) => resolve(new ApiError({ status: 0, code: "lost", message: LOST, ...fields }));
      let timer = setTimeout(lose, CONNECT_MS, {
        message: "The connection does not come about; a firewall may block it, ask for a TURN server.",
      });
      peer.addEventListener("connectionstatechange", () => {
        clearTimeout(timer);
        const state = peer.connectionState;
        if (state === "connected") {
          onConnected();
          this.#tell("connected", { message: "Connected." });
        } else if (state === "disconnected") timer = setTimeout(lose, BLINK_MS);
        else if (state === "failed" || state === "closed") lose();
        else timer = setTimeout(lose, CONNECT_MS);
      });
      peer.addEventListener("renew", () => lose({ message: "Starting anew…", retryAfter: 0 }));
      this.channel.addEventListener("close", () => lose());
      this.channel.addEventListener("message", ({ detail }) => {
        this.dispatchEvent(new CustomEvent("message", { detail }));
        if (detail.type !== "state" || detail.state !== "closed") return;
        lose({ status: 410, message: sentence(detail.message || "the server ended the session; start again") });
      });
    });
  }

  async #hangUp() {
    const [peer, id] = [this.#peer, this.#id];
    [this.#peer, this.#id, this.channel] = [null, null, null];
    peer?.close();
    if (id) await this.#calls.end(id);
  }

  async #countDown(seconds, problem) {
    const phase = problem.status === 503 ? "full" : "waiting";
    for (let left = seconds; left > 0 && !this.isStopped; left -= 1) {
      this.#tell(phase, { message: problem.message, seconds: left });
      await pause(1000, this.#stopped.signal);
    }
  }

  #tell(phase, detail) {
    this.dispatchEvent(new CustomEvent("phase", { detail: { phase, ...detail } }));
  }
}

function gathered(peer) {
  if (peer.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((resolve) => {
    setTimeout(resolve, GATHER_MS);
    peer.addEventListener("icegatheringstatechange", () => peer.iceGatheringState === "complete" && resolve());
  });
}

function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}
