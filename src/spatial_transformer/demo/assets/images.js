// The second tab: any image under any transform; its points are dragged, its theta slid.
import { COLOURS, Live, Stage, Voice, arrowKeys, ask, checkedFile, nearest, paint, picture, send, slider } from "./live.js";

export function startImages(root, setup) {
  const show = (name) => root.querySelector(`[data-show=${name}]`);
  const tell = (message) => { root.querySelector(".stn-status").textContent = message; };
  const specs = new Map(setup.transforms.map((t) => [t.name, t]));
  const state = {
    image: "card", picture: null, spec: null, theta: [], group: 0, grid: [],
    padding: "zeros", size: setup.sizes[1],
    samplers: [{ kernel: "bilinear", antialias: false }, { kernel: "bilinear", antialias: true }],
  };
  const voice = new Voice(root);
  const outputs = [...root.querySelectorAll(".stn-output canvas")];
  const rows = root.querySelector(".stn-sliders");
  let sliders = [];

  const live = new Live("warp", () => ask("warp", {
    image: state.image, transform: state.spec.name, theta: state.theta,
    size: state.size, padding: state.padding, samplers: state.samplers,
  }), async (answer) => {
    const drawn = await Promise.all(answer.outputs.map((o) => picture(o.pixels)));
    state.grid = answer.grid;
    redraw();
    drawn.forEach((image, k) => paint(outputs[k], image));
    ["left", "right"].forEach((side, k) => {
      const { kernel, antialias } = state.samplers[k];
      const sampler = `${kernel}${antialias ? ", antialiased" : ""}`;
      show(side).textContent = `${sampler}: ${answer.outputs[k].milliseconds} ms`;
      outputs[k].setAttribute("aria-label", `Output, ${sampler}`);
    });
  }, tell);

  // normalised coordinates of the input <-> its pixels
  const toPixels = ([x, y]) => [(x + 1) / 2 * state.picture.width, (y + 1) / 2 * state.picture.height];
  const toUnits = ([x, y]) => [x / state.picture.width * 2 - 1, y / state.picture.height * 2 - 1];
  const handles = () => state.spec.groups.map(({ handle: h }) => h
    && toPixels([h.at[0] + state.theta[h.x], h.at[1] + state.theta[h.y]]));
  const clamp = (v, low, high) => Math.min(Math.max(v, low), high);
  const inside = (p) => [clamp(p[0], 0, state.picture.width), clamp(p[1], 0, state.picture.height)];

  const stage = new Stage(root.querySelector(".stn-stage"), grab, drag);
  stage.redraw = redraw;
  function redraw() {
    if (!state.picture) return;
    const context = stage.begin(state.picture, state.picture.width, state.picture.height);
    stage.lines(context, state.grid, COLOURS.grids[0]);
    handles().forEach((point, k) => {
      if (point) stage.handle(context, inside(point), { filled: k === state.group, radius: 6 });
    });
    ring(context);
  }
  const held = () => state.spec.groups[state.group].handle;
  function ring(context) {
    if (stage.focused && held()) stage.ring(context, inside(handles()[state.group]));
  }
  function grab(point, reach) {
    const points = handles().map((p) => (p ? inside(p) : [Infinity, Infinity]));
    let which = nearest(points, point, reach);
    if (which === null && points.length === 1 && state.spec.groups[0].handle) which = 0;
    if (which === null) return null;
    if (which !== state.group) pick(which);
    redraw();
    const { x, y } = state.spec.groups[which].handle;
    return { x, y, from: toUnits(point), old: [state.theta[x], state.theta[y]] };
  }
  function drag({ x, y, from, old }, point, since) {
    const to = toUnits(point);
    put({ x, y }, old[0] + to[0] - from[0], old[1] + to[1] - from[1], since);
  }
  function put({ x, y }, across, down, since) {
    state.theta[x] = clamp(across, -3, 3);
    state.theta[y] = clamp(down, -3, 3);
    changed(since);
  }
  arrowKeys(stage.canvas, {
    move(direction, steps, since) {
      const point = held();
      if (!point) return;
      const [across, down] = [point.x, point.y].map((k, axis) => state.theta[k] + 0.02 * steps * direction[axis]);
      put(point, across, down, since);
      voice.say(`${state.spec.groups[state.group].label}: ${across.toFixed(2)}, ${down.toFixed(2)}`);
    },
    space(direction) {
      const count = state.spec.groups.length;
      pick((state.group + direction + count) % count);
      voice.say(`${state.spec.groups[state.group].label} of ${count}`);
      redraw();
    },
    home: () => actions.identity(),
  });
  function changed(since) {
    for (const { row, index } of sliders) row.set(state.theta[index]);
    live.ask(since === undefined ? undefined : [since]);
  }
  function pick(group) {
    state.group = group;
    const { label, params } = state.spec.groups[group];
    show("group").textContent = state.spec.groups.length > 1
      ? `${label} of ${state.spec.groups.length}` : `${state.spec.theta.length} numbers`;
    sliders = params.map(({ index, ...spec }) => ({
      index,
      row: slider(spec, (value, since) => { state.theta[index] = value; live.ask([since]); }),
    }));
    rows.replaceChildren(...sliders.map((s) => s.row));
    for (const { row, index } of sliders) row.set(state.theta[index]);
  }
  function useTransform(name) {
    if (state.spec?.name === name) return;
    state.spec = specs.get(name);
    state.theta = [...state.spec.theta];
    pick(0);
  }
  async function useImage(answer) {
    state.picture = await picture(answer.pixels);
    state.image = answer.image;
    live.ask();
  }

  const actions = {
    card: async () => useImage(await ask("image", { image: "card" })),
    identity: () => { state.theta = [...state.spec.theta]; changed(); },
    random: () => {
      const many = state.theta.length > 12;
      const ranges = state.spec.groups.flatMap((g) => g.params);
      state.theta = state.spec.theta.map((v, k) => {
        const { low, high } = ranges.find((p) => p.index === k) ?? { low: -1, high: 1 };
        return v + (Math.random() - 0.5) * (many ? 0.25 : 0.2 * (high - low));
      });
      changed();
    },
  };
  for (const button of root.querySelectorAll("[data-do]")) {
    button.addEventListener("click", () => Promise.resolve(actions[button.dataset.do]()).catch((e) => tell(e.message)));
  }
  root.querySelector("input[type=file]").addEventListener("change", async (event) => {
    try {
      const file = checkedFile(event.target, setup.mostBytes);
      if (file) await useImage(await send("upload", file));
    } catch (error) { tell(error.message); }
  });

  useTransform("affine");
  actions.card().catch((e) => tell(e.message));
  return {
    state,
    busy: () => live.busy,
    choose([transform, padding, size, left, leftSmooth, right, rightSmooth]) {
      useTransform(transform);
      Object.assign(state, { padding, size: Number(size) });
      state.samplers = [{ kernel: left, antialias: leftSmooth }, { kernel: right, antialias: rightSmooth }];
      live.ask();
    },
  };
}
