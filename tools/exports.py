"""The table of what ONNX Runtime gives for every transform, sampler and padding."""

from collections.abc import Mapping

from spatial_transformer.experiments.report.table import markdown

#: sampler -> padding -> transform -> largest difference, or why there is none
Pairs = Mapping[str, Mapping[str, Mapping[str, float | str]]]


def export_table(pairs: Pairs) -> str:
    """One row a transform and sampler, one column a padding; reasons below.

    >>> print(export_table({"nearest": {"zeros": {"affine": 0.0, "rigid": "too big"}}}))
    | transform | sampler | zeros |
    |---|---|---|
    | affine | nearest | 0 |
    | rigid | nearest | no (1) |
    <BLANKLINE>
    1 of 2 exported; the largest difference is 0.
    <BLANKLINE>
    (1) too big
    """
    paddings = list(dict.fromkeys(p for by_padding in pairs.values() for p in by_padding))
    found = [d for by_padding in pairs.values() for cells in by_padding.values()
             for d in cells.values()]  # fmt: skip
    reasons = list(dict.fromkeys(d for d in found if isinstance(d, str)))
    transforms = list(
        dict.fromkeys(t for by_padding in pairs.values() for cells in by_padding.values()
                      for t in cells)
    )  # fmt: skip

    def cell(value: float | str | None) -> str:
        if value is None:
            return "-"
        return f"no ({reasons.index(value) + 1})" if isinstance(value, str) else _figure(value)

    rows = [
        [name, sampler, *(cell(pairs[sampler].get(p, {}).get(name)) for p in paddings)]
        for name in transforms
        for sampler in pairs
    ]
    numbers = [d for d in found if not isinstance(d, str)]
    lines = [
        markdown(["transform", "sampler", *paddings], rows),
        f"{len(numbers)} of {len(found)} exported; the largest difference is "
        f"{_figure(max(numbers, default=0.0))}.",
        *(f"({k}) {reason}" for k, reason in enumerate(reasons, 1)),
    ]
    return "\n\n".join(lines)


def _figure(difference: float) -> str:
    return f"{difference:.0e}" if difference else "0"
