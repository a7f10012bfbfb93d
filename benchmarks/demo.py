"""From a drag on the demo's page to the new prediction on it, in a headless Chromium.

The pointer moves at its own pace, some sixty times a second. For every move: the time from the
event to the first frame whose networks' answers include it (or a later one), all else included:
the request, both networks, the pictures, the drawing.

    python -m benchmarks.demo [RUN ...]       writes results/benchmarks/demo.json
"""

import sys
from pathlib import Path
from typing import Any

from benchmarks.browser import ARGUMENTS, Visit, open_demo, visiting
from benchmarks.timing import save, summary, warn_if_busy
from spatial_transformer.demo.server import serving

#: each drag has so many moves
DRAGS, MOVES = 12, 25
LISTEN = """() => {
  window.latencies = [];
  document.addEventListener('stn:drawn', ({detail}) => requestAnimationFrame(() => {
    for (const since of detail.since) window.latencies.push(performance.now() - since);
  }));
}"""
STAGES = {
    "digits: drag, both networks": "#stn-digits .stn-stage",
    "any image: drag, both samplers": "#stn-images .stn-stage",
}


def measure(visit: Visit, stage: str) -> dict[str, Any]:
    """Milliseconds from each move to its frame, over ``DRAGS`` drags to and fro."""
    page = visit.page
    box = page.locator(stage).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for drag in range(DRAGS + 1):
        if drag == 1:  # the first warms up
            visit.settle()
            page.evaluate("window.latencies = []")
        side = -1 if drag % 2 else 1
        for k in range(MOVES):
            part = side * (1 - abs(2 * k / MOVES - 1))
            page.mouse.move(x + 60 * part, y + 25 * part)
            page.wait_for_timeout(1000 / 60)
    page.mouse.up()
    visit.settle()
    page.wait_for_timeout(100)
    return summary(page.evaluate("window.latencies"))


def main() -> None:
    warn_if_busy()
    rows = []
    runs = [Path(run) for run in sys.argv[1:]]
    with serving(open_demo(runs)) as url, visiting(url) as visit:
        visit.page.evaluate(LISTEN)
        networks = visit.page.evaluate("stn.tabs.digits.state.networks")
        for name, stage in STAGES.items():
            if "images" in stage:
                visit.page.get_by_role("tab", name="Any image").click()
                visit.page.wait_for_function("stn.tabs.images?.state.grid.length")
            row = {"name": name, **measure(visit, stage)}
            rows.append(row)
            print(f"{name:34s} median {row['median']:.0f} ms, IQR {row['iqr']:.0f} ms")
    save(
        Path("results/benchmarks/demo.json"),
        {"networks": networks, "chromium": ARGUMENTS, "latency": rows},
    )


if __name__ == "__main__":
    main()
