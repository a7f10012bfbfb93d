// Starts each tab when Gradio has put it on the page.
import { ask } from "./live.js";
import { startDigits } from "./digits.js";
import { startImages } from "./images.js";

const starts = { digits: startDigits, images: startImages };
const titles = { digits: "Digits", images: "Any image" };
const tabs = {};
const setup = ask("setup");

window.stn = {
  tabs,
  /** Gradio's choosers: which tab, and all their values. */
  choose(what, values) {
    tabs[what === "networks" ? "digits" : "images"]?.choose(values);
    return [];
  },
};

async function start() {
  const known = await setup;
  for (const [name, begin] of Object.entries(starts)) {
    const root = document.getElementById(`stn-${name}`);
    const panel = document.getElementById(`stn-tab-${name}`);
    if (panel && !panel.ariaLabel) panel.ariaLabel = titles[name]; // Gradio names none
    if (root && !root.dataset.started) {
      root.dataset.started = "yes";
      tabs[name] = begin(root, known);
    }
  }
}
new MutationObserver(start).observe(document.body, { childList: true, subtree: true });
start();
