/** The user's camera and microphone; failures as sentences that say what to do. */

const SENTENCES = {
  NotAllowedError: "The camera was refused; allow it for this page in the browser's address bar, then try again.",
  NotFoundError: "No camera was found; plug one in, then try again.",
  NotReadableError: "The camera is in use by another program; close that one, then try again.",
  OverconstrainedError: "The camera cannot do this resolution; choose a smaller one.",
  AbortError: "The camera stopped; plug it in again, then try again.",
};
const INSECURE = "The browser gives the camera to secure pages only; open this page by https or on localhost.";

export class CameraError extends Error {}

export class Camera {
  stream = null;
  /** Why there is no sound although it was asked for, or "". */
  soundMissing = "";

  get isOpen() {
    return this.stream !== null && this.stream.getVideoTracks().some((track) => track.readyState === "live");
  }

  /** Open the wanted camera; a microphone that fails does not stop the picture. */
  async open({ device, width, height, framerate, hasSound }) {
    if (!navigator.mediaDevices) throw new CameraError(INSECURE);
    const video = {
      width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: framerate },
      ...(device ? { deviceId: { exact: device } } : {}),
    };
    const stream = await this.#getVideo(video);
    this.soundMissing = "";
    if (hasSound) await this.#addSound(stream);
    this.close();
    this.stream = stream;
    return stream;
  }

  async #getVideo(video) {
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ video });
      for (const track of stream.getVideoTracks()) track.contentHint = "motion";
      return stream;
    } catch (error) {
      throw new CameraError(SENTENCES[error.name] ?? `The camera does not work (${error.name}); choose another one.`);
    }
  }

  async #addSound(stream) {
    try {
      const sound = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true } });
      for (const track of sound.getAudioTracks()) stream.addTrack(track);
    } catch {
      this.soundMissing = "There is no microphone, or it was refused; the picture goes on without your voice.";
    }
  }

  close() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = null;
  }

  /** Cameras by name; names are known only once one was allowed. */
  async list() {
    const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    return devices
      .filter((device) => device.kind === "videoinput" && device.deviceId)
      .map((device, index) => ({ id: device.deviceId, name: device.label || `Camera ${index + 1}` }));
  }
}
