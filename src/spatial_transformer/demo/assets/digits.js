// The first tab: a digit that is drawn, dragged, turned, scaled, sheared; two networks look at it.
import { COLOURS, Live, Stage, ask, checkedFile, nearest, paint, picture, send, slider } from "./live.js";

const BOX = 10, TURN = 14; // of the digit's frame and its turning handle, in the digit's pixels
const UPRIGHT = { angle: 0, scale: 1, shear: 0, x: 0, y: 0 };

export function startDigits(root, setup) {
  const show = (name) => root.querySelector(`[data-show=${name}]`);
  const tell = (message) => { root.querySelector(".stn-status").textContent = message; };
  const state = { digit: btoa("\0".repeat(784)), pose: { ...UPRIGHT }, clutter: { pieces: 0, seed: 0 },
                  networks: setup.chosen, answer: null, canvas: null };
  const sizes = new Map(setup.networks.map((n) => [n.name, n.size]));
  const titles = new Map(setup.networks.map((n) => [n.name, n.title]));

  // the frame: the digit's point q is shown at p (the same formula as scene.py's Pose)
  const rotate = ([x, y], degrees) => {
    const [c, s] = [Math.cos(degrees * Math.PI / 180), Math.sin(degrees * Math.PI / 180)];
    return [c * x - s * y, s * x + c * y];
  };
  const size = () => sizes.get(state.networks[0]) ?? 42;
  const centre = () => [size() / 2 + state.pose.x, size() / 2 + state.pose.y];
  const shown = ([x, y]) => {
    const { scale, shear, angle } = state.pose;
    const [px, py] = rotate([scale * (x + shear * y), scale * y], angle);
    return [centre()[0] + px, centre()[1] + py];
  };
  const inside = (p) => p.map((v) => Math.min(Math.max(v, 1.2), size() - 1.2));
  const handles = () => [[0, -TURN], [BOX, BOX], [0, BOX]].map((q) => inside(shown(q)));

  const sliders = {
    angle: slider({ name: "rotate", low: -180, high: 180, unit: "°", digits: 0 }, (v, t) => pose({ angle: v }, t)),
    scale: slider({ name: "scale", low: 0.4, high: 2 }, (v, t) => pose({ scale: v }, t)),
    shear: slider({ name: "shear", low: -1, high: 1 }, (v, t) => pose({ shear: v }, t)),
    x: slider({ name: "across", low: -30, high: 30, digits: 1 }, (v, t) => pose({ x: v }, t)),
    y: slider({ name: "down", low: -30, high: 30, digits: 1 }, (v, t) => pose({ y: v }, t)),
    pieces: slider({ name: "clutter", low: 0, high: 16, step: 1 }, (v, t) => { state.clutter.pieces = v; live.ask([t]); }),
  };
  root.querySelector(".stn-sliders").append(...Object.values(sliders));

  function pose(change, since) {
    Object.assign(state.pose, change);
    for (const name in UPRIGHT) sliders[name].set(state.pose[name]);
    sliders.pieces.set(state.clutter.pieces);
    live.ask(since === undefined ? undefined : [since]);
  }

  const live = new Live("look", () => {
    const networks = state.networks.filter((n) => sizes.get(n) === size());
    return ask("look", { digit: state.digit, pose: state.pose, clutter: state.clutter, networks });
  }, draw, tell);

  async function draw(answer) {
    const outputs = answer.networks.map((n) => Promise.all(n.views.map((v) => picture(v.output))));
    state.canvas = await picture(answer.canvas);
    state.answer = answer;
    redraw();
    const drawn = await Promise.all(outputs);
    answer.networks.forEach((network, k) => panel(k).update(network, drawn[k], state.canvas, titles.get(network.name)));
    for (const [k, one] of panels.entries()) one.root.hidden = k >= answer.networks.length;
  }

  const stage = new Stage(root.querySelector(".stn-stage"), grab, drag);
  stage.redraw = redraw;
  function redraw() {
    if (!state.canvas) return;
    const context = stage.begin(state.canvas, state.answer.size, state.answer.size);
    state.answer.networks.forEach((network, k) => {
      for (const view of network.views) stage.lines(context, view.grid, COLOURS.grids[k % 2]);
    });
    const corners = [[-BOX, -BOX], [BOX, -BOX], [BOX, BOX], [-BOX, BOX]].map(shown);
    context.setLineDash([4 * stage.dense, 4 * stage.dense]);
    context.strokeStyle = "#ffffffb0";
    context.lineWidth = stage.dense;
    context.beginPath();
    corners.forEach(([x, y], k) => context[k ? "lineTo" : "moveTo"](x * stage.scale, y * stage.scale));
    context.closePath();
    context.stroke();
    context.setLineDash([]);
    const [turn, grow, slant] = handles();
    stage.handle(context, turn);
    stage.handle(context, grow, { square: true, radius: 6 });
    stage.handle(context, slant, { filled: false, radius: 6 });
  }

  // all relative to where the drag began, so that nothing jumps
  function grab(point, reach) {
    const which = nearest(handles(), point, reach);
    return { what: ["turn", "grow", "slant"][which] ?? "move", from: point, pose: { ...state.pose }, centre: centre() };
  }
  function drag({ what, from, pose: old, centre: c }, to, since) {
    const arm = (p) => [p[0] - c[0], p[1] - c[1]];
    const clamp = (v, low, high) => Math.min(Math.max(v, low), high);
    if (what === "move") {
      const far = size();
      pose({ x: clamp(old.x + to[0] - from[0], -far, far), y: clamp(old.y + to[1] - from[1], -far, far) }, since);
    } else if (what === "turn") {
      const direction = (p) => Math.atan2(...arm(p).reverse()) * 180 / Math.PI;
      const angle = old.angle + direction(to) - direction(from);
      pose({ angle: ((angle + 540) % 360) - 180 }, since);
    } else if (what === "grow") {
      pose({ scale: clamp(old.scale * Math.hypot(...arm(to)) / Math.max(Math.hypot(...arm(from)), 1), 0.4, 2) }, since);
    } else {
      const across = (p) => rotate(arm(p), -old.angle)[0] / old.scale;
      pose({ shear: clamp(old.shear + (across(to) - across(from)) / BOX, -1, 1) }, since);
    }
  }

  // one panel a network
  const panels = [];
  function panel(k) {
    if (!panels[k]) {
      panels[k] = makePanel(COLOURS.grids[k % 2]);
      root.querySelector(".stn-networks").append(panels[k].root);
    }
    return panels[k];
  }

  // the drawing pad
  const pad = root.querySelector(".stn-pad");
  const ink = pad.getContext("2d", { willReadFrequently: true });
  const blank = () => { ink.fillStyle = "black"; ink.fillRect(0, 0, pad.width, pad.height); };
  blank();
  let pen = null;
  const place = (event) => {
    const box = pad.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width * pad.width, (event.clientY - box.top) / box.height * pad.height];
  };
  function stroke(from, to) {
    Object.assign(ink, { strokeStyle: "white", lineWidth: 10, lineCap: "round", lineJoin: "round" });
    ink.beginPath();
    ink.moveTo(...from);
    ink.lineTo(to[0] + 0.01, to[1]);
    ink.stroke();
  }
  pad.addEventListener("pointerdown", (event) => {
    pad.setPointerCapture(event.pointerId);
    event.preventDefault();
    pen = place(event);
    stroke(pen, pen);
    drawing.ask([event.timeStamp]);
  });
  pad.addEventListener("pointermove", (event) => {
    if (!pen) return;
    const to = place(event);
    stroke(pen, to);
    pen = to;
    show("source").textContent = "your drawing";
    drawing.ask([event.timeStamp]);
  });
  for (const end of ["pointerup", "pointercancel"]) pad.addEventListener(end, () => { pen = null; });

  const drawing = new Live("digit", async () => send("digit", await new Promise((done) => pad.toBlob(done))),
    (answer, since) => { state.digit = answer.digit; live.ask(since); }, tell);

  /** Show a digit (base64) on the pad and look at it. */
  function take({ digit }, source) {
    state.digit = digit;
    const bytes = Uint8Array.from(atob(digit), (c) => c.charCodeAt(0));
    const small = new OffscreenCanvas(28, 28);
    const pixels = new ImageData(28, 28);
    bytes.forEach((v, k) => pixels.data.set([v, v, v, 255], 4 * k));
    small.getContext("2d").putImageData(pixels, 0, 0);
    ink.drawImage(small, 0, 0, pad.width, pad.height);
    show("source").textContent = source;
    live.ask();
  }
  async function testDigit(index = Math.floor(Math.random() * setup.testDigits)) {
    const answer = await ask("test-digit", { index });
    take(answer, `test digit ${index}, a ${answer.label}`);
  }

  const actions = {
    clear: () => { blank(); show("source").textContent = ""; drawing.ask(); },
    test: () => testDigit(),
    reset: () => pose({ ...UPRIGHT }),
    scatter: () => {
      state.clutter = { pieces: state.clutter.pieces || 6, seed: state.clutter.seed + 1 };
      pose({});
    },
  };
  for (const button of root.querySelectorAll("[data-do]")) {
    button.addEventListener("click", () => Promise.resolve(actions[button.dataset.do]()).catch((e) => tell(e.message)));
  }
  root.querySelector("[data-do=test]").disabled = !setup.testDigits;
  root.querySelector("input[type=file]").addEventListener("change", async (event) => {
    try {
      const file = checkedFile(event.target, setup.mostBytes);
      if (file) { take(await send("digit", file), "your image"); }
    } catch (error) { tell(error.message); }
  });

  pose({});
  if (setup.testDigits) testDigit(0).catch((e) => tell(e.message));
  else { for (const [a, b] of strokesOfTwo()) stroke(a, b); drawing.ask(); }
  return {
    state,
    busy: () => live.busy || drawing.busy,
    choose(networks) { state.networks = networks.filter((n) => sizes.has(n)); pose({}); },
  };
}

/** A digit to begin with where MNIST is not at hand. */
function strokesOfTwo() {
  const points = [[36, 40], [44, 28], [58, 24], [70, 30], [74, 42], [66, 56], [50, 70], [36, 86], [78, 86]];
  return points.slice(1).map((p, k) => [points[k], p]);
}

function makePanel(colour) {
  const root = document.createElement("section");
  root.className = "stn-card stn-network";
  root.innerHTML = `<h3></h3><div class="stn-seen"><canvas></canvas><div><p class="stn-says"></p>
    <p class="stn-note"></p></div></div><div class="stn-bars"></div>`;
  const bars = [...Array(10).keys()].map((digit) => {
    const bar = document.createElement("div");
    bar.innerHTML = `<b>${digit}</b><i><u></u></i><span></span>`;
    return bar;
  });
  root.querySelector(".stn-bars").append(...bars);
  const canvas = root.querySelector("canvas");
  function update(network, outputs, input, title) {
    root.dataset.network = network.name;
    root.dataset.prediction = network.prediction;
    const [name, error] = title.split(": ");
    const small = document.createElement("small");
    small.textContent = error ?? "";
    root.querySelector("h3").replaceChildren(name, small);
    root.querySelector(".stn-says").textContent = network.prediction;
    root.querySelector(".stn-note").textContent = outputs.length
      ? "what the transformer passes on" : "no transformer: it sees the input as it is";
    canvas.style.borderColor = outputs.length ? colour : "";
    if (outputs.length < 2) paint(canvas, outputs[0] ?? input);
    else {
      canvas.width = outputs.reduce((sum, o) => sum + o.width, 0);
      canvas.height = outputs[0].height;
      let x = 0;
      for (const output of outputs) { canvas.getContext("2d").drawImage(output, x, 0); x += output.width; }
    }
    network.probabilities.forEach((p, digit) => {
      const bar = bars[digit];
      bar.className = digit === network.prediction ? "stn-best" : "";
      bar.querySelector("u").style.width = `${100 * p}%`;
      bar.querySelector("span").textContent = `${(100 * p).toFixed(p < 0.0995 ? 1 : 0)} %`;
    });
  }
  return { root, update };
}
