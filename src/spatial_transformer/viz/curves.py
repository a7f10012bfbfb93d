"""Training curves: loss, error and learning rate, of one run or of several."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from torch import Tensor

from spatial_transformer.errors import ShapeError
from spatial_transformer.viz.style import SERIES, new_figure, plain_axes


def draw_curves(
    runs: Mapping[str, Mapping[str, Tensor]],
    *,
    title: str = "",
    error: str = "training error, %",
) -> Figure:
    """Loss and error (smoothed, on logarithmic axes) and learning rate by step.

    Args:
        runs: A run's name -> its history: "step", "loss", "error_percent" ``(T,)`` and "rates"
            ``(T, groups)`` (the network's first, then the localisation networks', dashed).
        title: The figure's title.
        error: The label of the runs' error.

    Raises:
        ShapeError: If there is no run, or one without these entries.

    Examples:
        >>> import torch
        >>> t = torch.arange(1.0, 9.0)
        >>> history = {"step": t, "loss": 1 / t, "error_percent": 90 / t, "rates": t[:, None] * 0.1}
        >>> len(draw_curves({"st_cnn": history}).axes)
        3
    """
    labels = {"loss": "training loss", "error_percent": error, "rates": "learning rate"}
    if not runs or any(k not in h for h in runs.values() for k in ("step", *labels)):
        raise ShapeError(f"curves need runs with a history of step, {', '.join(labels)}")
    figure = new_figure(8.4, 2.5 + (0.25 if title else 0))
    panels = figure.subplots(1, len(labels))
    for axes, (key, label) in zip(panels, labels.items(), strict=True):
        plain_axes(axes)
        for k, (name, history) in enumerate(runs.items()):
            colour = SERIES[k % len(SERIES)]
            step, values = history["step"].cpu(), history[key].cpu()
            if key != "rates":
                after = step > 0  # nothing is known before the first step
                axes.plot(step[after], values[after], color=colour, linewidth=1.8, label=name)
                continue
            for group, line in zip(range(values.shape[1]), ("-", "--"), strict=False):
                what = "network" if group == 0 else "localisation"
                axes.plot(
                    step, values[:, group], line, color=colour, linewidth=1.8,
                    label=what if len(runs) == 1 and values.shape[1] > 1 else None,
                )  # fmt: skip
        if key != "rates":
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
            axes.yaxis.set_minor_locator(NullLocator())
        axes.set_title(label, fontsize=10)
        axes.set_xlabel("step", fontsize=10)
    if len(runs) > 1:
        panels[0].legend(fontsize=9, frameon=False)
    elif panels[2].get_legend_handles_labels()[1]:
        panels[2].legend(fontsize=9, frameon=False)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure
