// What one network makes of the canvas: what it is passed, its prediction, every probability.
import { paint } from "./live.js";

const PARTS = `<h3></h3><div class="stn-seen"><canvas role="img"></canvas><div><p class="stn-says"></p>
  <p class="stn-note"></p></div></div><div class="stn-bars" role="list" aria-label="Probabilities"></div>`;

export function makePanel(colour) {
  const root = document.createElement("section");
  root.className = "stn-card stn-network";
  root.innerHTML = PARTS;
  const bars = [...Array(10).keys()].map((digit) => {
    const bar = document.createElement("div");
    bar.setAttribute("role", "listitem");
    bar.innerHTML = `<b>${digit}</b><i><u></u></i><span></span>`;
    return bar;
  });
  root.querySelector(".stn-bars").append(...bars);
  const canvas = root.querySelector("canvas");
  const [says, note] = [".stn-says", ".stn-note"].map((name) => root.querySelector(name));

  /** `known`: the network of the setup; `dataset`: the one that the canvas is like. */
  function head(known, dataset) {
    root.dataset.network = known.name;
    root.setAttribute("aria-label", known.name);
    const small = document.createElement("small");
    small.textContent = known.facts;
    root.querySelector("h3").replaceChildren(known.name, small);
    return known.dataset === dataset ? "" : `; trained on ${known.dataset}, not on ${dataset}`;
  }

  function update(known, dataset, network, outputs, input) {
    const aside = head(known, dataset);
    root.dataset.prediction = network.prediction;
    says.textContent = network.prediction;
    const what = outputs.length ? "what the transformer passes on" : "no transformer: it sees the input as it is";
    note.textContent = what + aside;
    canvas.setAttribute("aria-label", what);
    canvas.style.borderColor = outputs.length ? colour : "";
    if (outputs.length < 2) paint(canvas, outputs[0] ?? input);
    else {
      canvas.width = outputs.reduce((sum, o) => sum + o.width, 0);
      canvas.height = outputs[0].height;
      let x = 0;
      for (const output of outputs) { canvas.getContext("2d").drawImage(output, x, 0); x += output.width; }
    }
    network.probabilities.forEach((p, digit) => {
      show(digit, digit === network.prediction, p, `${(100 * p).toFixed(p < 0.0995 ? 1 : 0)} %`);
    });
  }

  /** Nothing is drawn, so nothing is predicted. */
  function clear(known, dataset, input) {
    head(known, dataset);
    delete root.dataset.prediction;
    says.textContent = "–";
    note.textContent = "the pad is empty: draw a digit";
    canvas.setAttribute("aria-label", "empty");
    canvas.style.borderColor = "";
    paint(canvas, input);
    bars.forEach((_, digit) => show(digit, false, 0, "–"));
  }

  function show(digit, best, p, text) {
    const bar = bars[digit];
    bar.className = best ? "stn-best" : "";
    bar.querySelector("u").style.width = `${100 * p}%`;
    bar.querySelector("span").textContent = text;
  }
  return { root, update, clear };
}

/** In place of a second network where none fits. */
export function makeAdvice() {
  const root = document.createElement("section");
  root.className = "stn-card stn-alone";
  root.innerHTML = "<h3>No network beside it</h3><p></p><pre></pre>";
  function update({ dataset, size }) {
    root.querySelector("p").textContent =
      `None of those here reads images of ${size}x${size} pixels without a transformer. This trains one:`;
    root.querySelector("pre").textContent =
      `stn train --data ${dataset} --model cnn\nstn demo runs/table1/${dataset}--cnn--seed0`;
  }
  return { root, update };
}
