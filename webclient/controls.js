/** Sliders and switches built from the server's schema; what they do is sent, and taken back on error. */

const NAMES = {
  motion: "Motion", strength: "Strength", pose: "Head moves", expression: "Face moves", eyes: "Eyes move",
  mouth: "Mouth moves", smoothing: "Smoothing", pose_from: "Pose of", yaw: "Turn left to right", pitch: "Turn down to up",
  roll: "Tilt", camera_from: "Place in the picture of", zoom: "Size", shift_x: "Shift left to right",
  shift_y: "Shift down to up", expression_from: "Expression of", expression_strength: "Strength of the expression",
  shape_from: "Shape of", shape_strength: "Share of that shape", gaze_from: "Gaze of", gaze_x: "Look left to right",
  gaze_y: "Look down to up", light: "Light taken from the", light_from: "Light of", light_preset: "Lamp",
  light_azimuth: "Lamp, around the face", light_elevation: "Lamp, below to above", light_temperature: "Lamp, warm to cold",
  light_strength: "Lamp, strength", light_ambient: "Lamp, softness", background_colour: "Colour",
  background_blur: "Blur", background_from: "Background of", hair_from: "Hair of", hair_strength: "Share of that hair",
  clothes_from: "Clothes of", clothes_strength: "Share of those clothes", swap: "Taken by", show_slots: "Show slots",
  steps: "Quality steps", face: "Face",
};
const HELP = {
  motion: "Relative: what changes since the reference. Absolute: your pose as it is.",
  expression: "Off holds the whole face still, eyes and mouth too.",
  light_preset: "The sliders below change it; – is as the lamp has it.",
  background_from: "One of the three; it takes a moment to be made.",
  swap: "Pixels: as they are in the other picture. Tokens: as the model alone remembers them.",
  show_slots: "Tints what each of the model's slots is, with its name.",
  steps: "More steps: better and slower.",
};
const GROUPS = {
  Motion: ["motion", "strength", "pose", "expression", "eyes", "mouth", "smoothing"],
  Pose: ["yaw", "pitch", "roll", "zoom", "shift_x", "shift_y", "pose_from", "camera_from"],
  Face: ["expression_strength", "expression_from", "shape_from", "shape_strength"],
  Eyes: ["gaze_x", "gaze_y", "gaze_from"],
  Light: [
    "light", "light_from", "light_preset", "light_strength", "light_azimuth", "light_elevation", "light_temperature",
    "light_ambient",
  ],
  Background: ["background_blur", "background_colour", "background_from"],
  "Hair and clothes": ["hair_from", "hair_strength", "clothes_from", "clothes_strength", "swap"],
  Picture: ["show_slots", "steps"],
};
/** What is not folded away at first. */
const OPEN = new Set(["Motion", "Picture"]);
/** Of each only one can be set; the others are taken back with it. */
const RIVALS = [["light", "light_from"], ["background_blur", "background_colour", "background_from"]];
/** Whose it is where no portrait is named. */
const OWN = {
  shape_from: "Its own", light_from: "As above", background_from: "Its own", hair_from: "Its own", clothes_from: "Its own",
};
const UNITS = { degrees: "°", kelvin: " K", pixels: " px" };
/** What the server dresses the portrait anew for. */
const DRESSED = new Set([...GROUPS.Background, ...GROUPS["Hair and clothes"]]);
const MOST_BUTTONS = 4;
const UNSET = "–";
/** Set by switches of the page that are there before there is a session. */
const ELSEWHERE = new Set(["mirror"]);
const CHOICES = { source: "portrait", driver: "camera" };
const SETTLE_MS = 60;
/** How long something may be made before it is taken for lost. */
const SLOW_MS = 60000;

const pretty = (name) => NAMES[name] ?? (name[0].toUpperCase() + name.slice(1)).replaceAll("_", " ");

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function titled(title, reset, made) {
  const id = `controls-${title.toLowerCase().replaceAll(" ", "-")}`;
  const button = element("button", { type: "button", className: "plain", textContent: "Reset" });
  button.setAttribute("aria-label", `Reset: ${title}`);
  button.addEventListener("click", reset);
  const heading = element("summary", {}, element("h3", { id, textContent: title }));
  const body = element("details", { open: OPEN.has(title) }, heading, element("div", { className: "group-body" }, ...made));
  const group = element("div", { className: "group" }, body, button);
  group.setAttribute("role", "group");
  group.setAttribute("aria-labelledby", id);
  return group;
}

/** A control with its line of help, which screen readers read after its name. */
function explained(name, shown) {
  if (!HELP[name]) return shown;
  const help = element("p", { className: "small", id: `help-${name}`, textContent: HELP[name] });
  const target = shown.matches("fieldset") ? shown : shown.querySelector("input, select");
  target.setAttribute("aria-describedby", help.id);
  return element("div", {}, shown, help);
}

/** One control: its element, and how to show its value. */
function slider(name, schema, changed) {
  const id = `control-${name}`;
  const step = schema.step ?? (schema.max - schema.min) / 40;
  const output = element("output", { htmlFor: id });
  const input = element("input", { type: "range", id, name, min: schema.min, max: schema.max, step });
  const told = (value) => Number(value).toFixed(step < 1 ? 2 : 0) + (UNITS[schema.unit] ?? "");
  const show = (value) => {
    input.value = value ?? (schema.min + schema.max) / 2;
    output.value = value === null ? UNSET : told(value);
  };
  input.addEventListener("input", () => {
    show(Number(input.value));
    changed(name, Number(input.value));
  });
  const label = element("label", { htmlFor: id, textContent: pretty(name) });
  return { element: element("div", { className: "slider" }, label, output, input), show };
}

function colour(name, _schema, changed) {
  const id = `control-${name}`;
  const output = element("output", { htmlFor: id });
  const input = element("input", { type: "color", id, name });
  const show = (value) => {
    input.value = value ?? "#808080";
    output.value = value ?? UNSET;
  };
  input.addEventListener("input", () => {
    show(input.value);
    changed(name, input.value);
  });
  const label = element("label", { htmlFor: id, textContent: pretty(name) });
  return { element: element("div", { className: "slider" }, label, output, input), show };
}

/** One of several by a list; where they are portraits, they are told later. */
function list(name, choices, changed) {
  const id = `control-${name}`;
  const select = element("select", { id, name });
  let shown = null;
  const show = (value) => {
    shown = value;
    select.value = value ?? "";
  };
  const offer = (all) => {
    select.replaceChildren(...all.map(([value, text]) => new Option(text, value ?? "")));
    show(shown);
  };
  offer(choices);
  select.addEventListener("change", () => changed(name, select.value || null));
  const label = element("label", { htmlFor: id, textContent: pretty(name) });
  return { element: element("div", { className: "slider" }, label, select), show, offer };
}

function whose(name, _schema, changed) {
  const none = [null, OWN[name] ?? "The camera's"];
  const made = list(name, [none], changed);
  return { ...made, offerPortraits: (all) => made.offer([none, ...all.map(({ id, name: text }) => [id, text])]) };
}

const picked = (name, schema, changed) =>
  list(name, schema.enum.map((value) => [value, (value[0].toUpperCase() + value.slice(1))]), changed);

function toggle(name, _schema, changed) {
  const input = element("input", { type: "checkbox", id: `control-${name}`, name });
  input.setAttribute("role", "switch");
  input.addEventListener("change", () => changed(name, input.checked));
  const label = element("label", { className: "switch" }, input, element("span", { textContent: pretty(name) }));
  return { element: label, show: (value) => { input.checked = value; } };
}

function choice(name, schema, changed) {
  const inputs = schema.enum.map((value) => {
    const input = element("input", { type: "radio", name: `control-${name}`, className: "hidden-input" });
    input.addEventListener("change", () => changed(name, value));
    return input;
  });
  const labels = schema.enum.map((value, index) => element("label", {}, inputs[index], CHOICES[value] ?? String(value)));
  const legend = element("legend", { textContent: pretty(name) });
  const show = (value) => inputs.forEach((input, index) => { input.checked = schema.enum[index] === value; });
  return { element: element("fieldset", { className: "choice" }, legend, ...labels), show };
}

function kindOf(schema) {
  if (schema.enum) return schema.enum.length > MOST_BUTTONS ? picked : choice;
  if (schema.type === "boolean") return toggle;
  if (schema.type === "portrait") return whose;
  if (schema.type === "colour") return colour;
  return "min" in schema && "max" in schema ? slider : null;
}

/** Changes on their way; `isBusy` while the server has not answered, where it takes seconds. */
class Lane {
  pending = {};
  timer = null;
  isBusy = false;
}

export class Controls {
  #schema;
  #made = new Map();
  #send;
  #problem;
  #agreed = {};
  /** What was sent and not answered yet. */
  #asked = {};
  #quick = new Lane();
  #slow = new Lane();

  /** `send(values, patience)` resolves when the server took them; `problem(sentence)` shows why not, "" clears. */
  constructor(place, schema, { send, problem }) {
    this.#schema = Object.fromEntries(Object.entries(schema).filter(([name]) => !ELSEWHERE.has(name)));
    this.#send = send;
    this.#problem = problem;
    for (const [name, entry] of Object.entries(this.#schema)) {
      const make = kindOf(entry);
      if (make) this.#made.set(name, make(name, entry, (...change) => this.#changed(...change)));
      this.#agreed[name] = entry.default;
    }
    place.replaceChildren(...this.#groups());
    this.#showAll();
  }

  /** The portraits that attributes can be taken from. */
  offerPortraits(portraits) {
    for (const made of this.#made.values()) made.offerPortraits?.(portraits);
  }

  /** The known ones under their headings; what a newer server has besides, under "More". */
  #groups() {
    const known = new Set(Object.values(GROUPS).flat());
    const more = [...this.#made.keys()].filter((name) => !known.has(name));
    return Object.entries({ ...GROUPS, More: more }).flatMap(([title, all]) => {
      const names = all.filter((name) => this.#made.has(name));
      const shown = names.map((name) => explained(name, this.#made.get(name).element));
      return names.length ? [titled(title, () => this.reset(names), shown)] : [];
    });
  }

  /** After a connection came up: the server begins with its defaults, the user did not. */
  async resend() {
    const values = Object.entries(this.#agreed).filter(([name, value]) => value !== this.#schema[name].default);
    await this.#offerAll(values);
  }

  /** These, or all, as the schema has them at first. */
  async reset(names = Object.keys(this.#schema)) {
    for (const lane of [this.#quick, this.#slow]) for (const name of names) delete lane.pending[name];
    await this.#offerAll(names.map((name) => [name, this.#schema[name].default]));
  }

  /** What takes seconds apart from the rest, which need not wait for it. */
  async #offerAll(values) {
    const parts = [false, true].map((isSlow) => values.filter(([name]) => this.#isSlow(name) === isSlow));
    await Promise.all(parts.map((part) => part.length && this.#offer(Object.fromEntries(part))));
  }

  /** Whether the server has to make something ready for it. */
  #isSlow(name) {
    return ["portrait", "colour"].includes(this.#schema[name].type) || DRESSED.has(name);
  }

  /** A dragged slider sends its newest value a few times a second, not each of its pixels. */
  #changed(name, value) {
    const values = { [name]: value };
    const isSet = value !== this.#schema[name].default;
    for (const rival of isSet ? RIVALS.find((all) => all.includes(name)) ?? [] : []) {
      if (rival !== name && rival in this.#schema) values[rival] = this.#schema[rival].default;
    }
    const lane = Object.keys(values).some((each) => this.#isSlow(each)) ? this.#slow : this.#quick;
    Object.assign(lane.pending, values);
    this.#offerSoon(lane);
  }

  #offerSoon(lane) {
    if (lane.isBusy) return;
    lane.timer ??= setTimeout(async () => {
      const values = lane.pending;
      [lane.timer, lane.pending] = [null, {}];
      lane.isBusy = lane === this.#slow;
      await this.#offer(values);
      lane.isBusy = false;
      if (Object.keys(lane.pending).length) this.#offerSoon(lane);
    }, SETTLE_MS);
  }

  async #offer(values) {
    Object.assign(this.#asked, values);
    try {
      await this.#send(values, Object.keys(values).some((name) => this.#isSlow(name)) ? SLOW_MS : undefined);
      Object.assign(this.#agreed, values);
      this.#problem("");
    } catch (error) {
      this.#problem(error.message);
    }
    for (const [name, value] of Object.entries(values)) if (this.#asked[name] === value) delete this.#asked[name];
    if (this.#quick.timer === null && this.#slow.timer === null) this.#showAll();
  }

  #showAll() {
    const now = { ...this.#agreed, ...this.#asked, ...this.#quick.pending, ...this.#slow.pending };
    for (const [name, made] of this.#made) made.show(now[name]);
  }
}
