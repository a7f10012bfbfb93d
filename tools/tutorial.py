"""The table of the tutorial example: who collapses."""

from collections.abc import Sequence
from typing import Any

from spatial_transformer.experiments.report.table import markdown, summarise
from tools.benchmarks import distinct

#: the part of the output outside the image, in percent, beyond which a transformer is said
#: to collapse: where ``CollapseMonitor`` warns
COLLAPSED = 50.0


def collapse_table(rows: Sequence[dict[str, Any]]) -> str:
    """A row a setting and variant: test error, zoom and outside over the seeds, and how many of
    them collapsed."""
    header = ["training", "variant", "test error, %", "zoom out", "outside, %", "collapsed"]
    body = []
    for setting in distinct(rows, "setting"):
        for variant in distinct(rows, "variant"):
            these = [r for r in rows if (r["setting"], r["variant"]) == (setting, variant)]
            if not these:
                continue
            fallen = sum(r["outside_percent"] > COLLAPSED for r in these)
            columns = ("test_error_percent", "zoom_out", "outside_percent")
            numbers = [summarise([r[key] for r in these]) for key in columns]
            body.append([setting, variant, *numbers, f"{fallen} of {len(these)}"])
    return markdown(header, body)
