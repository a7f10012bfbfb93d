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

export function slider(spec, changed) {
  const row = document.createElement("label");
  row.className = "stn-slider";
  const [name, input, shown] = ["span", "input", "output"].map((tag) => document.createElement(tag));
  name.textContent = spec.name;
  Object.assign(input, { type: "range", min: spec.low, max: spec.high, step: spec.step ?? "any" });
  input.dataset.name = spec.name;
  row.append(name, input, shown);
  const show = (value) => { shown.textContent = `${Number(value.toFixed(spec.digits ?? 2))}${spec.unit ?? ""}`; };
  input.addEventListener("input", (event) => { show(input.valueAsNumber); changed(input.valueAsNumber, event.timeStamp); });
  row.set = (value) => { input.value = value; show(value); };
  return row;
}

/** A canvas with a picture, lines and handles on it, in the picture's pixel coordinates. */
export class Stage {
  constructor(canvas, grab, drag) {
    Object.assign(this, { canvas, width: 42, height: 42, redraw: () => {} });
    let held = null;
    canvas.addEventListener("pointerdown", (event) => {
      held = grab(this.point(event), 24 / this.unit);
      if (held === null) return;
      canvas.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    canvas.addEventListener("pointermove", (event) => {
      if (held !== null) drag(held, this.point(event), event.timeStamp);
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { held = null; });
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
