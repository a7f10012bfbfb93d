"""The page's layout and choosers (Gradio); the live parts are in ``assets/``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spatial_transformer.demo.images import SIZES
from spatial_transformer.demo.networks import ADVICE, beside, first_choice, title
from spatial_transformer.pretrained import Pretrained
from spatial_transformer.samplers import list_samplers
from spatial_transformer.samplers.padding import PADDINGS
from spatial_transformer.transforms import list_transforms

ASSETS = Path(__file__).parent / "assets"
TITLE = "Spatial transformers"
INTRODUCTION = """<div class="stn stn-title"><h1>Spatial transformers</h1>
<p>Drag, turn and stretch a digit: watch where the transformer looks and what it passes on.</p>
</div>"""
HEAD = """
<link rel="stylesheet" href="/stn/assets/demo.css">
<link rel="icon" href="data:,">
<script type="module" src="/stn/assets/page.js"></script>
"""


def page_options() -> dict[str, Any]:
    """The options of the mounted page: it loads nothing from elsewhere and offers no API."""
    import gradio as gr

    fonts = ("system-ui", "sans-serif")
    theme = gr.themes.Base(
        primary_hue="orange",
        neutral_hue="slate",
        font=[gr.themes.Font(name) for name in fonts],
        font_mono=[gr.themes.Font(name) for name in ("ui-monospace", "monospace")],
    )
    return {
        "theme": theme,
        "head": HEAD,
        "footer_links": [],
        "app_kwargs": {"docs_url": None, "redoc_url": None, "openapi_url": None},
        "ssr_mode": False,
        "mcp_server": False,
        "pwa": False,
        "max_file_size": "1kb",  # Gradio's own uploads are not used
    }


def build_page(networks: Sequence[Pretrained]) -> Any:
    """The page as Gradio blocks."""
    import gradio as gr

    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
        gr.HTML(INTRODUCTION, elem_classes="stn-html")
        with gr.Tabs():
            with gr.Tab("Digits", elem_id="stn-tab-digits"):
                _digits_tab(networks)
            with gr.Tab("Any image", render_children=True, elem_id="stn-tab-images"):
                _images_tab()
    return page


def _digits_tab(networks: Sequence[Pretrained]) -> None:
    import gradio as gr

    if not networks:
        gr.Markdown(
            "**There are no trained networks here yet.** Two small ones take a few minutes:\n\n"
            f"```\n{ADVICE}\n```",
            elem_classes="stn-advice",
        )
    datasets = list(dict.fromkeys(n.dataset for n in networks))

    def choices(dataset: str) -> list[list[tuple[str, str]]]:
        own = [n for n in networks if n.dataset == dataset]
        return [[(title(n), n.name) for n in some] for some in (own, beside(networks, dataset))]

    first = datasets[0] if datasets else ""
    chosen = [*first_choice(networks, first), None, None][:2]
    with gr.Row(elem_classes="stn-choosers", visible=bool(networks)):
        dataset = gr.Dropdown(datasets, value=first or None, label="Trained on", min_width=90)
        two = [
            gr.Dropdown(known, value=name, label=label, min_width=260)
            for known, name, label in zip(
                choices(first), chosen, ("Network", "Beside it"), strict=True
            )
        ]
    gr.HTML((ASSETS / "digits.html").read_text(), elem_classes="stn-html")

    def change_dataset(name: str) -> list[Any]:
        values = [*first_choice(networks, name), None, None][:2]
        return [
            gr.update(choices=known, value=value)
            for known, value in zip(choices(name), values, strict=True)
        ]

    dataset.input(change_dataset, dataset, two, api_visibility="private", show_progress="hidden")
    _tell("networks", two)


def _images_tab() -> None:
    import gradio as gr

    with gr.Row(elem_classes="stn-choosers"):
        transform = gr.Dropdown(
            list(list_transforms()), value="affine", label="Transform", min_width=110
        )
        padding = gr.Dropdown(list(PADDINGS), value="zeros", label="Padding", min_width=90)
        size = gr.Dropdown(list(SIZES), value=SIZES[1], label="Output", min_width=70)
        samplers = []
        for side, antialias in (("Left", False), ("Right", True)):
            with gr.Column(min_width=120, elem_classes="stn-sampler"):
                kernel = gr.Dropdown(
                    list(list_samplers()), value="bilinear", label=f"{side} sampler", min_width=100
                )
                samplers += [kernel, gr.Checkbox(antialias, label=f"antialias {side.lower()}")]
    gr.HTML((ASSETS / "images.html").read_text(), elem_classes="stn-html")
    _tell("sampling", [transform, padding, size, *samplers])


def _tell(what: str, components: Sequence[Any]) -> None:
    """Send the components' values to the page's script whenever one changes."""
    for component in components:
        component.change(
            None, list(components), None, js=f"(...values) => window.stn?.choose('{what}', values)",
            api_visibility="private",
        )  # fmt: skip
