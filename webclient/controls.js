/** Sliders and switches built from the server's schema; what they do is sent, and taken back on error. */

const NAMES = {
  motion: "Motion", strength: "Strength", pose: "Head moves", expression: "Face moves", eyes: "Eyes move",
  mouth: "Mouth moves", smoothing: "Smoothing", light: "Light taken from the", light_x: "Lamp, left to right",
  light_y: "Lamp, below to above", light_strength: "Strength of a lamp", steps: "Quality steps", face: "Face",
};
const HELP = {
  motion: "Relative: what changes since the reference. Absolute: your pose as it is.",
  expression: "Off holds the whole face still, eyes and mouth too.",
  light_strength: "At 0 the light stays as it is.",
  steps: "More steps: better and slower.",
};
const GROUPS = {
  Motion: ["motion", "strength", "pose", "expression", "eyes", "mouth", "smoothing"],
  Light: ["light", "light_strength", "light_x", "light_y"],
  Picture: ["steps"],
};
/** Set by switches of the page that are there before there is a session. */
const ELSEWHERE = new Set(["mirror"]);
const CHOICES = { source: "portrait", driver: "camera" };
const SETTLE_MS = 60;

const pretty = (name) => NAMES[name] ?? (name[0].toUpperCase() + name.slice(1)).replaceAll("_", " ");

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function titled(title, reset, made) {
  const id = `controls-${title.toLowerCase()}`;
  const button = element("button", { type: "button", className: "plain", textContent: "Reset" });
  button.setAttribute("aria-label", `Reset: ${title}`);
  button.addEventListener("click", reset);
  const heading = element("div", { className: "group-head" }, element("h3", { id, textContent: title }), button);
  const group = element("div", { className: "group" }, heading, ...made);
  group.setAttribute("role", "group");
  group.setAttribute("aria-labelledby", id);
  return group;
}

/** A control with its line of help, which screen readers read after its name. */
function explained(name, shown) {
  if (!HELP[name]) return shown;
  const help = element("p", { className: "small", id: `help-${name}`, textContent: HELP[name] });
  const target = shown.matches("fieldset") ? shown : shown.querySelector("input");
  target.setAttribute("aria-describedby", help.id);
  return element("div", {}, shown, help);
}

/** One control: its element, and how to read and show its value. */
function slider(name, schema, changed) {
  const id = `control-${name}`;
  const step = schema.step ?? (schema.max - schema.min) / 40;
  const output = element("output", { htmlFor: id });
  const input = element("input", { type: "range", id, name, min: schema.min, max: schema.max, step });
  const show = (value) => {
    input.value = value;
    output.value = Number(value).toFixed(2);
  };
  input.addEventListener("input", () => {
    show(input.value);
    changed(name, Number(input.value));
  });
  const label = element("label", { htmlFor: id, textContent: pretty(name) });
  return { element: element("div", { className: "slider" }, label, output, input), show };
}

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
  if (schema.enum) return choice;
  if (schema.type === "boolean") return toggle;
  return "min" in schema && "max" in schema ? slider : null;
}

export class Controls {
  #schema;
  #made = new Map();
  #send;
  #problem;
  #agreed = {};
  #pending = {};
  #timer = null;

  /** `send(values)` resolves when the server took them; `problem(sentence)` shows why not, "" clears. */
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
    const values = Object.fromEntries(
      Object.entries(this.#agreed).filter(([name, value]) => value !== this.#schema[name].default),
    );
    if (Object.keys(values).length) await this.#offer(values);
  }

  /** These, or all, as the schema has them at first. */
  async reset(names = Object.keys(this.#schema)) {
    for (const name of names) delete this.#pending[name];
    await this.#offer(Object.fromEntries(names.map((name) => [name, this.#schema[name].default])));
  }

  /** A dragged slider sends its newest value a few times a second, not each of its pixels. */
  #changed(name, value) {
    this.#pending[name] = value;
    this.#timer ??= setTimeout(() => {
      const values = this.#pending;
      [this.#timer, this.#pending] = [null, {}];
      this.#offer(values);
    }, SETTLE_MS);
  }

  async #offer(values) {
    try {
      await this.#send(values);
      Object.assign(this.#agreed, values);
      this.#problem("");
    } catch (error) {
      this.#problem(error.message);
    }
    if (this.#timer === null) this.#showAll();
  }

  #showAll() {
    for (const [name, made] of this.#made) made.show(this.#agreed[name]);
  }
}
