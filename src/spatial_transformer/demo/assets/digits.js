// The first tab: a digit that is drawn, dragged, turned, scaled, sheared; two networks look at it.
import { COLOURS, Live, Stage, Voice, arrowKeys, ask, checkedFile, nearest, picture, send, slider } from "./live.js";
import { makePad } from "./pad.js";
import { makeAdvice, makePanel } from "./panel.js";

const BOX = 10, TURN = 14; // of the digit's frame and its turning handle, in the digit's pixels
const UPRIGHT = { angle: 0, scale: 1, shear: 0, x: 0, y: 0 };
const LIMITS = { scale: [0.4, 2], shear: [-1, 1] };
const HELD = ["move", "turn", "scale", "shear"]; // what the keys change

export function startDigits(root, setup) {
  const show = (name) => root.querySelector(`[data-show=${name}]`);
  const tell = (message) => { root.querySelector(".stn-status").textContent = message; };
  const state = { digit: btoa("\0".repeat(784)), pose: { ...UPRIGHT }, clutter: { pieces: 0, seed: 0 },
                  networks: setup.chosen, answer: null, canvas: null, held: 0, seed: 3, source: "" };
  const known = new Map(setup.networks.map((n) => [n.name, n]));
  const [predictions, keys] = [new Voice(root), new Voice(root)];

  // the frame: the digit's point q is shown at p (the same formula as scene.py's Pose)
  const rotate = ([x, y], degrees) => {
    const [c, s] = [Math.cos(degrees * Math.PI / 180), Math.sin(degrees * Math.PI / 180)];
    return [c * x - s * y, s * x + c * y];
  };
  const first = () => known.get(state.networks[0]);
  const size = () => first()?.size ?? 42;
  const fitting = () => state.networks.filter((n) => known.get(n).size === size());
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
    scale: slider({ name: "scale", low: LIMITS.scale[0], high: LIMITS.scale[1] }, (v, t) => pose({ scale: v }, t)),
    shear: slider({ name: "shear", low: LIMITS.shear[0], high: LIMITS.shear[1] }, (v, t) => pose({ shear: v }, t)),
    x: slider({ name: "across", low: -30, high: 30, digits: 1 }, (v, t) => pose({ x: v }, t)),
    y: slider({ name: "down", low: -30, high: 30, digits: 1 }, (v, t) => pose({ y: v }, t)),
    pieces: slider({ name: "clutter", low: 0, high: 16, step: 1 }, (v, t) => { state.clutter.pieces = v; pose({}, t); }),
  };
  root.querySelector(".stn-sliders").append(...Object.values(sliders));

  const clamp = (v, low, high) => Math.min(Math.max(v, low), high);
  function pose(change, since) {
    const next = { ...state.pose, ...change };
    for (const [name, [low, high]] of Object.entries(LIMITS)) next[name] = clamp(next[name], low, high);
    if (Math.abs(next.angle) > 180) next.angle -= 360 * Math.round(next.angle / 360);
    for (const name of ["x", "y"]) next[name] = clamp(next[name], -size(), size());
    Object.assign(state.pose, next);
    for (const name in UPRIGHT) sliders[name].set(state.pose[name]);
    sliders.pieces.set(state.clutter.pieces);
    show("source").textContent = state.source;
    markRanges();
    live.ask(since === undefined ? undefined : [since]);
  }

  // what the first network was trained on; a digit of its scale lies inside the image
  function markRanges() {
    const ranges = first()?.ranges;
    const room = ranges?.moved ? Math.max(size() / 2 - 14 * clamp(state.pose.scale, ...ranges.scale), 0) : 0;
    const bands = ranges && { angle: ranges.angle, scale: ranges.scale, shear: [0, 0], x: [-room, room], y: [-room, room],
                              pieces: [ranges.pieces, ranges.pieces] };
    for (const [name, row] of Object.entries(sliders)) row.band(bands?.[name] ?? null);
    const outside = Object.values(sliders).filter((row) => !row.inside()).map((row) => row.querySelector("input").dataset.name);
    show("range").textContent = !bands ? "" : `dark band: what ${first().dataset} was trained on; ${
      outside.length ? `outside it now: ${outside.join(", ")}` : "all inside it now"}`;
  }

  const live = new Live("look", () => ask("look",
    { digit: state.digit, pose: state.pose, clutter: state.clutter, networks: fitting() }), draw, tell);

  async function draw(answer) {
    const outputs = answer.networks.map((n) => Promise.all(n.views.map((v) => picture(v.output))));
    state.canvas = await picture(answer.canvas);
    state.answer = answer;
    redraw();
    const drawn = await Promise.all(outputs);
    const dataset = first()?.dataset;
    if (answer.empty) fitting().forEach((name, k) => panel(k).clear(known.get(name), dataset, state.canvas));
    answer.networks.forEach((network, k) => panel(k).update(known.get(network.name), dataset, network, drawn[k], state.canvas));
    const count = answer.empty ? fitting().length : answer.networks.length;
    for (const [k, one] of panels.entries()) one.root.hidden = k >= count;
    advice.root.hidden = count !== 1;
    if (count === 1) advice.update(first());
    predictions.say(answer.empty ? "The pad is empty." : answer.networks.map((n) => `${n.name}: ${n.prediction}`).join(", "));
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
    if (stage.focused) stage.ring(context, [centre(), turn, grow, slant][state.held]);
    stage.handle(context, turn);
    stage.handle(context, grow, { square: true, radius: 6 });
    stage.handle(context, slant, { filled: false, radius: 6 });
  }

  // all relative to where the drag began, so that nothing jumps
  function grab(point, reach) {
    state.held = (nearest(handles(), point, reach) ?? -1) + 1;
    return { what: HELD[state.held], from: point, pose: { ...state.pose }, centre: centre() };
  }
  function drag({ what, from, pose: old, centre: c }, to, since) {
    const arm = (p) => [p[0] - c[0], p[1] - c[1]];
    if (what === "move") pose({ x: old.x + to[0] - from[0], y: old.y + to[1] - from[1] }, since);
    else if (what === "turn") {
      const direction = (p) => Math.atan2(...arm(p).reverse()) * 180 / Math.PI;
      pose({ angle: old.angle + direction(to) - direction(from) }, since);
    } else if (what === "scale") {
      pose({ scale: old.scale * Math.hypot(...arm(to)) / Math.max(Math.hypot(...arm(from)), 1) }, since);
    } else {
      const across = (p) => rotate(arm(p), -old.angle)[0] / old.scale;
      pose({ shear: old.shear + (across(to) - across(from)) / BOX }, since);
    }
  }
  arrowKeys(stage.canvas, {
    move([x, y], steps, since) {
      const old = state.pose;
      pose({
        move: { x: old.x + x * steps, y: old.y + y * steps },
        turn: { angle: Math.round(old.angle) + 3 * (x + y) * steps },
        scale: { scale: old.scale + 0.05 * (x - y) * steps },
        shear: { shear: old.shear + 0.05 * (x - y) * steps },
      }[HELD[state.held]], since);
    },
    space(direction) {
      state.held = (state.held + direction + HELD.length) % HELD.length;
      keys.say(`arrow keys ${HELD[state.held]} the digit`);
      redraw();
    },
    home: (since) => pose({ ...UPRIGHT }, since),
  });

  // one panel a network
  const panels = [], advice = makeAdvice();
  advice.root.hidden = true;
  root.querySelector(".stn-networks").append(advice.root);
  function panel(k) {
    if (!panels[k]) {
      panels[k] = makePanel(COLOURS.grids[k % 2]);
      advice.root.before(panels[k].root);
    }
    return panels[k];
  }

  // the drawing pad
  const pad = makePad(root.querySelector(".stn-pad"), (since) => {
    show("source").textContent = state.source = "your drawing";
    drawing.ask([since]);
  }, (text) => keys.say(text));
  const drawing = new Live("digit", async () => send("digit", await pad.blob()),
    (answer, since) => { state.digit = answer.digit; live.ask(since); }, tell);

  /** Show a digit (base64) on the pad and look at it. */
  function take({ digit }, source) {
    state.digit = digit;
    const bytes = Uint8Array.from(atob(digit), (c) => c.charCodeAt(0));
    const small = new OffscreenCanvas(28, 28);
    const pixels = new ImageData(28, 28);
    bytes.forEach((v, k) => pixels.data.set([v, v, v, 255], 4 * k));
    small.getContext("2d").putImageData(pixels, 0, 0);
    pad.show(small);
    state.source = source;
    pose({});
  }
  async function testDigit(index = Math.floor(Math.random() * setup.testDigits)) {
    const answer = await ask("test-digit", { index });
    take(answer, `test digit ${index}, a ${answer.label}`);
  }
  /** A test digit, or the one on the pad, where the networks differ if they do somewhere. */
  async function differing(drawn = null) {
    const networks = fitting().slice(0, 2);
    const answer = await ask("differ", { networks, seed: state.seed, ...(drawn && { digit: drawn }) });
    Object.assign(state, { pose: answer.pose, clutter: { pieces: answer.pieces, seed: state.seed } });
    state.seed += 1;
    const what = drawn ? "a drawing" : `test digit ${answer.number}, a ${answer.label}`;
    take(answer, what);
    if (networks.length > 1) { // as it is now: moved, they may agree
      show("source").textContent += answer.differs ? ": the networks differ" : ": none found where they differ";
    }
  }
  let working = 0;
  async function work(job) {
    working += 1;
    try { await job(); } catch (error) { tell(error.message); }
    working -= 1;
  }
  async function open() {
    const [networks, digits] = [setup.networks.length > 0, setup.testDigits > 0];
    if (digits) await (networks ? differing() : testDigit(0));
    else {
      for (const [a, b] of SEVEN) pad.stroke(a, b);
      const { digit } = await send("digit", await pad.blob());
      if (networks) await differing(digit);
      else take({ digit }, "a drawing");
    }
  }

  const actions = {
    clear: () => { pad.blank(); show("source").textContent = state.source = ""; drawing.ask(); },
    test: () => testDigit(),
    differ: () => differing(),
    reset: () => pose({ ...UPRIGHT }),
    scatter: () => {
      state.clutter = { pieces: state.clutter.pieces || 6, seed: state.clutter.seed + 1 };
      pose({});
    },
  };
  for (const button of root.querySelectorAll("[data-do]")) {
    button.addEventListener("click", () => work(actions[button.dataset.do]));
  }
  const differ = root.querySelector("[data-do=differ]");
  const canDiffer = () => { differ.disabled = !setup.testDigits || fitting().length < 2; };
  root.querySelector("[data-do=test]").disabled = !setup.testDigits;
  canDiffer();
  root.querySelector("input[type=file]").addEventListener("change", async (event) => {
    try {
      const file = checkedFile(event.target, setup.mostBytes);
      if (file) { take(await send("digit", file), "your image"); }
    } catch (error) { tell(error.message); }
  });

  pose({});
  work(open);
  return {
    state,
    busy: () => working > 0 || live.busy || drawing.busy,
    choose(networks) {
      const before = first()?.dataset;
      state.networks = networks.filter((n) => known.has(n));
      canDiffer();
      pose({});
      if (first() && first().dataset !== before && setup.testDigits) work(differing);
    },
  };
}

/** A digit to begin with where MNIST is not at hand: a seven with a bar, not everybody's seven. */
const SEVEN = [[[32, 28], [80, 28]], [[80, 28], [52, 90]], [[44, 58], [76, 58]]];
