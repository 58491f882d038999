/** The gallery, and the user's own pictures by file, drop or paste. */

const TYPES = ["image/jpeg", "image/png", "image/webp"];
const NUM_KEYS = 9;
const LARGEST_SIDE = 2048;

/** Draw a picture into a canvas; a canvas needs no exception from the content policy. */
async function draw(blob, canvas, side) {
  const picture = await createImageBitmap(blob);
  const scale = Math.min(1, side / Math.max(picture.width, picture.height));
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close();
}

/** A large photo is made smaller here: the server wants no more, and a phone sends it faster. */
async function prepared(file) {
  const picture = await createImageBitmap(file).catch(() => null);
  if (!picture) throw new Error("This picture cannot be read; choose another file.");
  const isLarge = Math.max(picture.width, picture.height) > LARGEST_SIDE;
  picture.close();
  if (!isLarge) return file;
  const canvas = document.createElement("canvas");
  await draw(file, canvas, LARGEST_SIDE);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
}

/** Events: "choice" when another portrait is chosen, "listed" when there are others. */
export class Portraits extends EventTarget {
  #api;
  #gallery;
  #note;
  #still;
  #consent;
  #waitingFile = null;
  #files = new Map();
  chosen = null;
  /** Of all that can be chosen, id and name. */
  known = [];

  /** `elements`: gallery, drop, file, note, still; `consent()` is the text's hash, or null without consent. */
  constructor(api, elements, consent) {
    super();
    this.#api = api;
    this.#gallery = elements.gallery;
    this.#note = elements.note;
    this.#still = elements.still;
    this.#consent = consent;
    this.#listen(elements);
  }

  /** Show the server's portraits. */
  async show(portraits) {
    this.#gallery.replaceChildren();
    this.known = [];
    await Promise.all(portraits.map((portrait) => this.#add(portrait)));
  }

  /** The portrait of a number key; nothing where there is none. */
  chooseNumber(number) {
    this.#gallery.querySelectorAll("input")[number - 1]?.click();
  }

  /** Send the picture that waited for consent. */
  async consented() {
    const file = this.#waitingFile;
    this.#waitingFile = null;
    if (file) await this.take(file);
  }

  /** Upload a picture and choose it; without consent it waits, and stays in the browser. */
  async take(file) {
    if (!TYPES.includes(file.type)) {
      return this.#say("That is no JPEG, PNG or WebP picture; choose another file.");
    }
    const consent = this.#consent();
    if (!consent) {
      this.#waitingFile = file;
      return this.#say("Tick the consent below; the picture is sent after that.");
    }
    this.#say("Sending the picture…");
    try {
      const picture = await prepared(file);
      const { id } = await this.#api.uploadPortrait(picture, consent);
      this.#files.set(id, picture);
      if (!this.#input(id)) await this.#add({ id, name: "Your picture" });
      this.#input(id).click();
      this.#say("Your picture is ready.");
    } catch (error) {
      this.#say(error.message);
    }
  }

  /** Give a server that forgot it the chosen own picture again; false where it is none. */
  async sendAgain(portrait) {
    const [file, consent] = [this.#files.get(portrait), this.#consent()];
    if (!file || !consent) return false;
    await this.#api.uploadPortrait(file, consent);
    return true;
  }

  #input(id) {
    return [...this.#gallery.querySelectorAll("input")].find((input) => input.value === id);
  }

  async #add({ id, name }) {
    const number = this.#gallery.children.length + 1;
    const input = Object.assign(document.createElement("input"), {
      type: "radio", name: "portrait", value: id, className: "hidden-input",
    });
    input.setAttribute("aria-label", name);
    if (number <= NUM_KEYS) input.setAttribute("aria-keyshortcuts", number);
    const canvas = document.createElement("canvas");
    canvas.setAttribute("aria-hidden", "true");
    const caption = Object.assign(document.createElement("span"), { textContent: name });
    const label = Object.assign(document.createElement("label"), { className: "portrait", title: name });
    label.append(input, canvas, caption);
    if (number <= NUM_KEYS) {
      const key = Object.assign(document.createElement("kbd"), { textContent: number });
      key.setAttribute("aria-hidden", "true");
      label.append(key);
    }
    this.#gallery.append(label);
    this.known.push({ id, name });
    this.dispatchEvent(new Event("listed"));
    input.addEventListener("change", () => this.#choose(id, name));
    await this.#paint(id, canvas, 256);
  }

  async #choose(id, name) {
    this.chosen = id;
    this.dispatchEvent(new Event("choice"));
    this.#still.setAttribute("aria-label", `The chosen portrait: ${name}`);
    await this.#paint(id, this.#still, 512);
    this.#still.hidden = false;
  }

  async #paint(id, canvas, side) {
    try {
      await draw(await this.#api.picture(id), canvas, side);
    } catch {
      canvas.title = "The picture could not be loaded; reload the page.";
    }
  }

  #listen({ drop, file }) {
    file.addEventListener("change", () => {
      if (file.files.length) this.take(file.files[0]);
      file.value = "";
    });
    for (const type of ["dragenter", "dragover"]) {
      drop.addEventListener(type, (event) => {
        event.preventDefault();
        drop.classList.add("over");
      });
    }
    drop.addEventListener("dragleave", () => drop.classList.remove("over"));
    drop.addEventListener("drop", (event) => {
      event.preventDefault();
      drop.classList.remove("over");
      if (event.dataTransfer.files.length) this.take(event.dataTransfer.files[0]);
    });
    document.addEventListener("paste", (event) => {
      const pasted = [...event.clipboardData.files].find((each) => each.type.startsWith("image/"));
      if (pasted) this.take(pasted);
    });
  }

  #say(sentence) {
    this.#note.textContent = sentence;
  }
}
