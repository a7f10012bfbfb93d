"""Takes the pictures of docs/demo.md in a headless Chromium.

python -m docs.site.demo [RUN ...]
"""

import sys
from pathlib import Path

from benchmarks.browser import PHONE, Visit, open_demo, visiting

from spatial_transformer.demo.server import serving
from spatial_transformer.files import write_whole

IMAGES = Path(__file__).parents[1] / "images"


def take(visit: Visit, name: str, whole: bool = False) -> None:
    visit.settle()
    visit.page.mouse.move(1, 1)
    visit.page.wait_for_timeout(300)
    write_whole(
        IMAGES / f"demo-{name}.png",
        lambda p: visit.page.screenshot(path=p, full_page=whole, animations="disabled"),
    )


def main() -> None:
    with serving(open_demo([Path(run) for run in sys.argv[1:]])) as url:
        with visiting(url) as visit:
            take(visit, "digits", whole=True)  # as it opens
            visit.page.get_by_role("tab", name="Any image").click()
            visit.page.get_by_label("Transform", exact=True).click()
            visit.page.get_by_role("option", name="thin_plate_spline").click()
            visit.page.wait_for_function("stn.tabs.images?.state.spec.name === 'thin_plate_spline'")
            visit.settle()
            visit.drag("#stn-images .stn-stage", (1 / 3, 1 / 3), (0.24, 0.42))
            visit.settle()
            visit.drag("#stn-images .stn-stage", (2 / 3, 2 / 3), (0.78, 0.6))
            take(visit, "images")
        with visiting(url, PHONE) as visit:
            take(visit, "phone", whole=True)


if __name__ == "__main__":
    main()
