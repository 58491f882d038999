/** Brings the parts of the page together. */

import { Api } from "./api.js";
import { Camera } from "./camera.js";
import { listenToKeys } from "./keys.js";
import { Live } from "./live.js";
import { Portraits } from "./portraits.js";
import { Status } from "./status.js";

const get = (id) => document.getElementById(id);

const TOKEN_MISSING = "This server asks for a token; enter the one it printed, then press Use.";

function makeStatus() {
  return new Status({
    line: get("state-line"), state: get("state"), countdown: get("countdown"), veil: get("veil"),
    veilText: get("veil-text"), spinner: get("spinner"), notice: get("notice"), noticeText: get("notice-text"),
    noticeClose: get("notice-close"),
  });
}

function makePortraits(api, consent) {
  const elements = {
    gallery: get("gallery"), drop: get("drop"), file: get("file"), note: get("upload-note"), still: get("still"),
  };
  return new Portraits(api, elements, consent);
}

/** Ask the server what it offers; until it answers, or wants a token, only that is shown. */
async function load(api, portraits, status, live) {
  try {
    const config = await api.config();
    get("token-card").hidden = !config.needs_token || api.token !== "";
    get("consent-text").textContent = config.consent.text;
    get("ai-label").textContent = config.label;
    live.configure(config);
    if (!get("token-card").hidden) return status.page("error", TOKEN_MISSING);
    status.page("setup", "Choose a portrait; it will follow your face.");
    await portraits.show(config.portraits);
  } catch (error) {
    if (error.status === 401) get("token-card").hidden = false;
    status.page("error", error.message);
    status.notice(error.message);
  }
}

function main() {
  const [api, camera, status] = [new Api(), new Camera(), makeStatus()];
  const consent = () => (get("consent").checked ? live.config?.consent.sha256 : null) ?? null;
  const portraits = makePortraits(api, consent);
  const live = new Live({ api, camera, status, portraits, consent });
  const reload = () => load(api, portraits, status, live);

  get("token-save").addEventListener("click", () => {
    api.token = get("token").value.trim();
    status.notice("");
    reload();
  });
  get("token").addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    get("token-save").click();
  });
  get("consent").addEventListener("change", () => {
    live.refresh();
    live.guide();
    if (consent()) portraits.consented();
  });
  get("help-button").addEventListener("click", () => get("help").showModal());
  listenToKeys({
    digit: (number) => portraits.chooseNumber(number),
    x: () => live.reference("set"),
    r: () => live.reference("reset"),
    m: () => get("mirror").click(),
    s: () => live.toggleStats(),
    v: () => live.record(),
    "?": () => get("help").showModal(),
  });
  reload();
}

main();
