// What both tabs share: the server, pictures, sliders, canvases.

export const COLOURS = { grids: ["#E69F00", "#56B4E9"], handle: "#56B4E9", edge: "#0b1220" };

async function answerOf(response) {
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error ?? `the server answered ${response.status}`);
  return answer;
}

export async function ask(path, payload = {}) {
  const headers = { "content-type": "application/json" };
  return answerOf(await fetch(`/stn/${path}`, { method: "POST", headers, body: JSON.stringify(payload) }));
}

export async function send(path, blob) {
  const headers = { "content-type": "application/octet-stream" };
  return answerOf(await fetch(`/stn/${path}`, { method: "POST", headers, body: blob }));
}

/** One request at a time; of those that wait only the latest is sent, so dragging never queues. */
export class Live {
  constructor(name, request, draw, failed) {
    Object.assign(this, { name, request, draw, failed, waiting: null, busy: false });
  }

  /** `since`: when the events happened that ask for it (as of performance.now). */
  ask(since = [performance.now()]) {
    this.waiting = [...(this.waiting ?? []), ...since];
    if (!this.busy) this.run();
  }

  async run() {
    this.busy = true;
    while (this.waiting) {
      const since = this.waiting;
      this.waiting = null;
      try {
        await this.draw(await this.request(), since);
        this.failed("");
        document.dispatchEvent(new CustomEvent("stn:drawn", { detail: { name: this.name, since } }));
      } catch (error) {
        this.failed(error.message);
      }
    }
    this.busy = false;
  }
}

export async function picture(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}

/** A picture pixel by pixel on a canvas of its size. */
export function paint(canvas, image) {
  if (canvas.width !== image.width) canvas.width = image.width;
  if (canvas.height !== image.height) canvas.height = image.height;
  canvas.getContext("2d").drawImage(image, 0, 0);
}

/** Refuses what the server would, without sending it. */
export function checkedFile(input, mostBytes) {
  const file = input.files[0];
  input.value = "";
  if (file && file.size > mostBytes) {
    const size = (file.size / 2 ** 20).toFixed(1);
    throw new Error(`the file is too large: ${size} MB, at most ${mostBytes / 2 ** 20} MB`);
  }
  return file;
}

/** A labelled range input. `row.band([low, high])` marks a range on it, `row.band(null)` none. */
export function slider(spec, changed) {
  const row = document.createElement("label");
  row.className = "stn-slider";
  const [name, input, shown] = ["span", "input", "span"].map((tag) => document.createElement(tag));
  name.textContent = spec.name;
  Object.assign(input, { type: "range", min: spec.low, max: spec.high, step: spec.step ?? "any" });
  input.dataset.name = spec.name;
  input.setAttribute("aria-label", spec.name);
  row.append(name, input, shown);
  let marked = null;
  const text = (value) => `${Number(value.toFixed(spec.digits ?? 2))}${spec.unit ?? ""}`;
  const slack = 0.51 * 10 ** -(spec.digits ?? 2); // what is shown decides
  row.inside = () => !marked || (input.valueAsNumber >= marked[0] - slack && input.valueAsNumber <= marked[1] + slack);
  const show = (value) => {
    shown.textContent = text(value);
    input.setAttribute("aria-valuetext", text(value) + (row.inside() ? "" : ", outside the range of training"));
  };
  input.addEventListener("input", (event) => { show(input.valueAsNumber); changed(input.valueAsNumber, event.timeStamp); });
  row.set = (value) => { input.value = value; show(value); };
  row.band = (range) => {
    marked = range;
    input.classList.toggle("stn-band", Boolean(range));
    (range ?? []).forEach((value, k) => {
      const part = (value - spec.low) / (spec.high - spec.low);
      input.style.setProperty(k ? "--stn-to" : "--stn-from", Math.min(Math.max(part, 0), 1));
    });
    show(input.valueAsNumber);
  };
  return row;
}

/** Tells screen readers, when things have come to rest; nothing twice in a row. */
export class Voice {
  constructor(root) {
    this.element = document.createElement("p");
    this.element.className = "stn-voice";
    this.element.setAttribute("aria-live", "polite");
    root.append(this.element);
  }

  say(text) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (this.element.textContent !== text) this.element.textContent = text;
    }, 700);
  }
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * Keys on a canvas that has the focus; Tab leaves it as always.
 * `move(direction, steps, since)` by arrows (five steps with Shift), `space(direction, since)`, `home(since)`.
 */
export function arrowKeys(canvas, { move, space, home }) {
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const { key, shiftKey, timeStamp } = event;
    if (ARROWS[key]) move(ARROWS[key], shiftKey ? 5 : 1, timeStamp);
    else if (key === " " && !event.repeat) space(shiftKey ? -1 : 1, timeStamp);
    else if (key === "Home" && home) home(timeStamp);
    else if (key !== " ") return;
    event.preventDefault();
  });
}

/** A canvas with a picture, lines and handles on it, in the picture's pixel coordinates. */
export class Stage {
  constructor(canvas, grab, drag) {
    Object.assign(this, { canvas, width: 42, height: 42, keyed: false, redraw: () => {} });
    let held = null;
    canvas.addEventListener("keydown", () => { this.keyed = true; });
    canvas.addEventListener("pointerdown", (event) => {
      this.keyed = false;
      held = grab(this.point(event), 24 / this.unit);
      if (held === null) return;
      canvas.setPointerCapture(event.pointerId);
      event.preventDefault();
      canvas.focus({ preventScroll: true });
    });
    // a finger that holds nothing scrolls the page
    canvas.addEventListener("touchstart", (event) => { if (held !== null) event.preventDefault(); }, { passive: false });
    canvas.addEventListener("pointermove", (event) => {
      if (held !== null) drag(held, this.point(event), event.timeStamp);
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { held = null; });
    for (const change of ["focus", "blur"]) canvas.addEventListener(change, () => this.redraw());
    new ResizeObserver(() => this.redraw()).observe(canvas);
  }

  /** CSS pixels of a pixel of the picture. */
  get unit() {
    return this.canvas.clientWidth / this.width || 1;
  }

  point(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / this.unit, (event.clientY - box.top) / this.unit];
  }

  begin(image, width, height) {
    Object.assign(this, { width, height });
    const { canvas } = this;
    const dense = window.devicePixelRatio || 1;
    canvas.style.aspectRatio = `${width} / ${height}`;
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * dense));
    canvas.height = Math.max(1, Math.round(canvas.width * height / width));
    const context = canvas.getContext("2d");
    this.scale = canvas.width / width;
    this.dense = dense;
    context.imageSmoothingEnabled = this.scale < 2;
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    return context;
  }

  /** Grid lines in pixel-centre coordinates; the outermost ones thick. */
  lines(context, lines, colour) {
    const half = lines.length / 2;
    context.strokeStyle = colour;
    lines.forEach((line, k) => {
      const outer = k % half === 0 || k % half === half - 1;
      context.lineWidth = (outer ? 2.5 : 1) * this.dense;
      context.globalAlpha = outer ? 1 : 0.75;
      context.beginPath();
      let open = false;
      for (const point of line) {
        if (!point) { open = false; continue; }
        const [x, y] = [(point[0] + 0.5) * this.scale, (point[1] + 0.5) * this.scale];
        open ? context.lineTo(x, y) : context.moveTo(x, y);
        open = true;
      }
      context.stroke();
    });
    context.globalAlpha = 1;
  }

  /** Whether the keys go here. */
  get focused() {
    return document.activeElement === this.canvas && (this.keyed || this.canvas.matches(":focus-visible"));
  }

  /** Around what the keys move. */
  ring(context, [x, y]) {
    for (const [colour, width] of [[COLOURS.edge, 5], ["#ffffff", 2.5]]) {
      context.beginPath();
      context.arc(x * this.scale, y * this.scale, 13 * this.dense, 0, 7);
      context.strokeStyle = colour;
      context.lineWidth = width * this.dense;
      context.stroke();
    }
  }

  handle(context, [x, y], { radius = 7, filled = true, square = false } = {}) {
    const r = radius * this.dense;
    context.beginPath();
    if (square) context.rect(x * this.scale - r, y * this.scale - r, 2 * r, 2 * r);
    else context.arc(x * this.scale, y * this.scale, r, 0, 7);
    context.fillStyle = filled ? COLOURS.handle : "#ffffffd0";
    context.strokeStyle = COLOURS.edge;
    context.lineWidth = 1.5 * this.dense;
    context.fill();
    context.stroke();
  }
}

/** The nearest of `points` within `reach`, or null. */
export function nearest(points, [x, y], reach) {
  let best = null;
  points.forEach(([px, py], k) => {
    const far = Math.hypot(px - x, py - y);
    if (far < reach) { reach = far; best = k; }
  });
  return best;
}
