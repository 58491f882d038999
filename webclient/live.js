/** What the page does with a session: start and stop, buttons, camera changes, the server's messages. */

import { Controls } from "./controls.js";
import { Overlay } from "./overlay.js";
import { Recorder } from "./recorder.js";
import { sentence } from "./sentence.js";
import { Session } from "./session.js";

const get = (id) => document.getElementById(id);
const TONES = { connecting: "busy", connected: "busy", waiting: "busy", full: "busy", failed: "error" };
const STEPS = {
  portrait: { missing: "Choose a portrait first.", guide: "Choose a portrait; it will follow your face." },
  consent: { missing: "Tick the consent first.", guide: "Next, read the consent and tick it." },
  start: { missing: "", guide: "Press Start; the portrait will follow your face." },
};

export class Live {
  config = null;
  #api;
  #camera;
  #status;
  #portraits;
  #consent;
  #controls = null;
  #overlay;
  #recorder;
  #session = null;
  #isStarting = false;
  /** Whether the present connection's server has said its state. */
  #isTold = false;
  #sentPortrait = null;

  constructor({ api, camera, status, portraits, consent }) {
    this.#api = api;
    this.#camera = camera;
    this.#status = status;
    this.#portraits = portraits;
    this.#consent = consent;
    this.#overlay = new Overlay(get("stats"), get("stats-table").tBodies[0], () => this.#session?.peer ?? null);
    const recording = {
      button: get("record"), text: get("record-text"), time: get("record-time"), view: get("record-view"),
      downloads: get("downloads"),
    };
    this.#recorder = new Recorder(recording, api, {
      ask: (type, fields) => this.#ask(type, fields), tell: (sentence) => this.#status.notice(sentence),
    });
    this.#listen();
  }

  /** Take the server's answer to /api/config. */
  configure(config) {
    this.config = config;
    this.#controls = new Controls(get("controls"), config.controls, {
      send: (controls, patience) => this.#request("set", { controls }, patience),
      problem: (sentence) => { get("controls-error").textContent = sentence; },
    });
    this.#controls.offerPortraits(this.#portraits.known);
    this.#recorder.offer(config.can_record === true);
    this.refresh();
  }

  /** Say what is missing until there is nothing, then let it start. */
  refresh() {
    const step = this.#step();
    get("start").disabled = !this.config || step !== "start" || this.#isStarting;
    get("start-note").textContent = this.config ? STEPS[step].missing : "";
    const isLive = this.#session !== null;
    document.body.classList.toggle("live", isLive);
    get("tools").hidden = get("controls-card").hidden = !isLive;
    get("start-row").hidden = get("consent-card").hidden = isLive;
  }

  /** The next step in words, until there is a session to speak of. */
  guide() {
    if (this.config && !this.#session) this.#status.page("setup", STEPS[this.#step()].guide);
  }

  #step() {
    if (!this.#portraits.chosen) return "portrait";
    return this.#consent() ? "start" : "consent";
  }

  reference(action) {
    if (this.#session) this.#ask("reference", { action });
  }

  record() {
    if (this.#session) this.#recorder.toggle();
  }

  toggleStats() {
    this.#overlay.toggle();
    get("toggle-stats").setAttribute("aria-pressed", this.#overlay.isShown);
  }

  async #start() {
    this.#isStarting = true;
    this.refresh();
    this.#status.notice("");
    const hasCamera = this.#camera.isOpen || (await this.#openCamera());
    this.#isStarting = false;
    if (hasCamera) this.#run(this.#newSession());
    this.refresh();
    if (hasCamera) get("stop").focus();
  }

  #newSession() {
    const calls = {
      iceServers: async () => (await this.#api.config()).ice_servers,
      create: (offer, signal) => this.#createSession(offer, signal),
      end: (id) => this.#api.deleteSession(id),
    };
    return new Session(calls);
  }

  /** A server that was started anew has forgotten the user's own picture; it gets it again. */
  async #createSession(offer, signal) {
    try {
      return await this.#api.createSession(offer, signal);
    } catch (error) {
      if (error.code !== "unknown_portrait" || !(await this.#portraits.sendAgain(offer.portrait))) throw error;
      return this.#api.createSession(offer, signal);
    }
  }

  #run(session) {
    this.#session = session;
    session.addEventListener("phase", ({ detail }) => this.#phase(detail));
    session.addEventListener("open", () => {
      this.#controls.resend();
      this.#sendSound();
      this.#sendPortrait();
      this.#askState(session);
    });
    session.addEventListener("message", ({ detail }) => this.#message(detail));
    session.addEventListener("track", ({ detail }) => {
      if (get("remote").srcObject !== detail) get("remote").srcObject = detail;
    });
    session.run(this.#camera.stream, () => this.#description());
  }

  /** What the server said before the channel was open. */
  async #askState(session) {
    const told = await this.#api.session(session.id).catch(() => null);
    if (told && this.#session === session && !this.#isTold) this.#status.server(told);
  }

  #description() {
    this.#sentPortrait = this.#portraits.chosen;
    return { portrait: this.#sentPortrait, consent: this.#consent(), mirror: get("mirror").checked };
  }

  async #stop(message = "Stopped.") {
    const session = this.#session;
    await this.#recorder.finish();
    this.#session = null;
    this.#camera.close();
    get("remote").srcObject = get("preview").srcObject = null;
    get("own").hidden = true;
    this.#overlay.clear();
    this.#recorder.ended();
    get("controls-error").textContent = "";
    this.refresh();
    this.#status.page("setup", message);
    await session?.stop();
  }

  async #phase({ phase, message, seconds, status }) {
    if (!this.#session) return;
    this.#isTold = false;
    if (status === 401) get("token-card").hidden = false;
    if (phase !== "connected") this.#recorder.ended();
    if (phase !== "failed") return this.#status.page(TONES[phase], message, seconds);
    await this.#stop(message);
    this.#status.page("error", message);
    this.#status.notice(message);
    get("start").focus();
  }

  #message(message) {
    if (!this.#session) return;
    if (message.type === "state") {
      this.#isTold = true;
      this.#status.server(message);
    } else if (message.type === "stats") {
      this.#overlay.take(message);
      this.#recorder.take(message.recording);
      this.#session.limitCamera(message.camera_fps ?? null);
    } else if (message.type === "error") this.#status.notice(sentence(message.message));
  }

  /** A request whose refusal the caller shows. */
  #request(type, fields, patience) {
    if (!this.#session?.channel?.isOpen) return Promise.resolve();
    return this.#session.channel.request(type, fields, patience);
  }

  /** A request whose refusal is shown as a notice; the ack, or null. */
  async #ask(type, fields) {
    if (!this.#session?.channel?.isOpen) {
      this.#status.notice("There is no connection at the moment; wait until it is back, then press again.");
      return null;
    }
    try {
      const answer = await this.#request(type, fields);
      this.#status.notice("");
      return answer ?? null;
    } catch (error) {
      this.#status.notice(error.message);
      return null;
    }
  }

  async #openCamera() {
    const [width, height] = get("resolution").value.split("x").map(Number);
    const wanted = {
      device: get("camera").value, width, height, framerate: Number(get("framerate").value),
      hasSound: get("microphone").checked,
    };
    try {
      const stream = await this.#camera.open(wanted);
      get("preview").srcObject = stream;
      get("own").hidden = get("toggle-own").getAttribute("aria-pressed") !== "true";
      stream.getVideoTracks()[0].addEventListener("ended", () => this.#unplugged(stream));
      this.#status.notice(this.#camera.soundMissing);
      await this.#listCameras();
      return true;
    } catch (error) {
      this.#status.notice(error.message);
      return false;
    }
  }

  #unplugged(stream) {
    if (this.#camera.stream !== stream) return;
    this.#status.notice("The camera was unplugged or taken away; plug it in or choose another one above.");
  }

  async #listCameras() {
    const select = get("camera");
    const chosen = select.value;
    const cameras = await this.#camera.list();
    select.replaceChildren(new Option("Default camera", ""), ...cameras.map(({ id, name }) => new Option(name, id)));
    select.value = cameras.some(({ id }) => id === chosen) ? chosen : "";
  }

  /** A change of camera, resolution or sound: at once where the camera is on. */
  async #changeCamera() {
    if (!this.#camera.isOpen && !this.#session) return;
    if ((await this.#openCamera()) && this.#session) await this.#session.replaceTracks(this.#camera.stream);
  }

  /** Silenced at once; only a microphone that was never opened needs the camera opened again. */
  async #changeMicrophone() {
    const isOn = get("microphone").checked;
    const tracks = this.#camera.stream?.getAudioTracks() ?? [];
    for (const track of tracks) track.enabled = isOn;
    if (isOn && tracks.length === 0) await this.#changeCamera();
  }

  /** By the control where the server has one, else by a new session. */
  #changeMirror() {
    const mirror = get("mirror").checked;
    get("preview").classList.toggle("mirrored", mirror);
    if (!this.#session) return;
    if (this.config.controls.mirror) this.#ask("set", { controls: { mirror } });
    else this.#session.renew();
  }

  /** Where the server shows another one; without a connection the next one begins with it. */
  #sendPortrait() {
    const portrait = this.#portraits.chosen;
    if (!this.#session?.channel?.isOpen || portrait === this.#sentPortrait) return;
    this.#sentPortrait = portrait;
    this.#ask("portrait", { portrait });
  }

  /** One's own voice comes back only while somebody listens; a server that cannot spare it sends it. */
  #sendSound() {
    this.#request("sound", { action: get("remote").muted ? "off" : "on" }).catch(() => undefined);
  }

  #choosePortrait() {
    this.refresh();
    this.guide();
    this.#sendPortrait();
  }

  #listen() {
    get("panel").addEventListener("submit", (event) => {
      event.preventDefault();
      if (!get("start").disabled && !this.#session) this.#start();
    });
    get("stop").addEventListener("click", async () => {
      await this.#stop();
      get("start").focus();
    });
    for (const action of ["set", "auto", "reset"]) {
      get(`reference-${action}`).addEventListener("click", () => this.reference(action));
    }
    this.#portraits.addEventListener("choice", () => this.#choosePortrait());
    this.#portraits.addEventListener("listed", () => this.#controls?.offerPortraits(this.#portraits.known));
    for (const id of ["camera", "resolution", "framerate"]) {
      get(id).addEventListener("change", () => this.#changeCamera());
    }
    get("microphone").addEventListener("change", () => this.#changeMicrophone());
    get("try-camera").addEventListener("click", () => this.#openCamera());
    get("mirror").addEventListener("change", () => this.#changeMirror());
    get("preview").classList.toggle("mirrored", get("mirror").checked);
    get("controls-default").addEventListener("click", () => this.#controls.reset());
    navigator.mediaDevices?.addEventListener("devicechange", () => this.#listCameras());
    window.addEventListener("pagehide", () => this.#session?.stop());
    window.addEventListener("pageshow", (event) => event.persisted && location.reload());
    this.#listenToView();
  }

  #listenToView() {
    get("sound").addEventListener("click", () => {
      const remote = get("remote");
      remote.muted = !remote.muted;
      get("sound").setAttribute("aria-pressed", !remote.muted);
      this.#sendSound();
    });
    get("toggle-own").addEventListener("click", () => {
      const isShown = get("toggle-own").getAttribute("aria-pressed") !== "true";
      get("toggle-own").setAttribute("aria-pressed", isShown);
      get("own").hidden = !isShown || !this.#camera.isOpen;
    });
    get("toggle-stats").addEventListener("click", () => this.toggleStats());
    get("copy-stats").addEventListener("click", () => this.#copyStats());
    get("fullscreen").addEventListener("click", () => {
      if (document.fullscreenElement) return document.exitFullscreen();
      return get("stage").requestFullscreen?.().catch(() => this.#status.notice("The browser refused the full screen; zoom the page instead."));
    });
  }

  async #copyStats() {
    try {
      await navigator.clipboard.writeText(this.#overlay.json());
      get("copy-stats").textContent = "Copied";
    } catch {
      this.#status.notice("The browser refused the clipboard; allow it for this page, then copy again.");
    }
  }
}
