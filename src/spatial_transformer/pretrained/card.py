"""Model cards: a README.md with the Hugging Face hub's front matter, made from config.json."""

import json
from collections.abc import Mapping
from typing import Any

from spatial_transformer.pretrained.models import ModelConfig

LICENCE = "apache-2.0"


def model_card(name: str, config: ModelConfig, about: Mapping[str, Any]) -> str:
    """The README.md of a folder of weights.

    Args:
        name: The network's name.
        config: What it was built from.
        about: config.json without the model: dataset, title, labels, test_error_percent,
            test_images, commands, record; each is optional.
    """
    sections = [
        _front_matter(name, about),
        f"# {name}\n\n{_what(config)}",
        "## Data and error\n\n" + _error(name, about),
        "## How to load it\n\n" + _loading(name, config),
        "## How it was trained\n\n" + _training(about),
        "## Limits\n\n" + _limits(config, about),
        "## Licence\n\nApache-2.0, as spatial-transformer itself. The digits are MNIST's, by Yann "
        "LeCun, Corinna Cortes and Christopher Burges.",
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(name: str, about: Mapping[str, Any]) -> str:
    """YAML; strings are quoted as JSON, which YAML reads."""
    lines = [
        "---",
        f"license: {LICENCE}",
        "library_name: spatial-transformer",
        "pipeline_tag: image-classification",
        "tags:",
        *("- pytorch", "- safetensors", "- spatial-transformer", "- mnist"),
        "datasets:",
        "- ylecun/mnist",
    ]
    error = about.get("test_error_percent")
    if error is not None:
        data = json.dumps(f"MNIST {about.get('title') or about['dataset']}")
        lines += [
            "model-index:",
            f"- name: {json.dumps(name)}",
            "  results:",
            "  - task:",
            "      type: image-classification",
            "    dataset:",
            f"      name: {data}",
            "      type: ylecun/mnist",
            "      split: test",
            "    metrics:",
            "    - name: Test error in percent",
            "      type: error",
            f"      value: {error}",
        ]
    return "\n".join([*lines, "---"])


def _what(config: ModelConfig) -> str:
    shape = "x".join(map(str, config.in_shape))
    classifier = f"`{config.model}` network of about {config.parameters:,} parameters"
    if not config.has_transformer:
        return (
            f"A {classifier} for images of {shape} (channels first, values in [0, 1]) and "
            f"{config.classes} classes, without a spatial transformer: the baseline."
        )
    size = "x".join(map(str, config.sampled_size))
    return (
        f"A {classifier} with a spatial transformer (Jaderberg et al., 2015): a localisation "
        f"network predicts the {config.transform.replace('_', ' ')} transform by which each image "
        f"of {shape} (channels first, values in [0, 1]) is sampled to {size} before it is put into "
        f"one of {config.classes} classes. Nothing but the class labels trained it."
    )


def _error(name: str, about: Mapping[str, Any]) -> str:
    if about.get("test_error_percent") is None:
        return "No error has been recorded."
    lines = [
        f"Data set `{about['dataset']}` ({about.get('title') or about['dataset']}): MNIST's test "
        "digits, each distorted once, the same way for everybody.",
        "",
        "| test error | images | command |",
        "|---|---|---|",
        f"| {about['test_error_percent']:.2f} % | {about.get('test_images', 0):,} | "
        f"`stn eval {name} --device cpu` |",
    ]
    return "\n".join(lines)


def _loading(name: str, config: ModelConfig) -> str:
    lines = [
        "```python",
        "import torch",
        "import spatial_transformer as stn",
        "",
        f'model = stn.load_pretrained("{name}")  # or the path of this folder',
        f"images = torch.rand(8, {', '.join(map(str, config.in_shape))})",
        "scores = model(images)",
    ]
    if config.has_transformer:
        lines.append("scores, warped, theta = model(images, return_warped=True)")
    return "\n".join([*lines, "```"])


def _training(about: Mapping[str, Any]) -> str:
    record = about.get("record")
    if not record:
        return "Not recorded."
    command = (about.get("commands") or {}).get("train")
    lines = [f"    {command}", ""] if command else []
    lines.append(
        f"{record['iterations']:,} steps of {record['batch_size']} images, seed {record['seed']}, "
        f"{record['parameters']:,} parameters, {record['wall_seconds']:,.0f} seconds on "
        f"{record['hardware']}, torch {record['torch']}, commit {record['commit']}. The record's "
        f"own test error, measured where it was trained: {record['test_error_percent']:.2f} %. All "
        "options are in `config.json`."
    )
    return "\n".join(lines)


def _limits(config: ModelConfig, about: Mapping[str, Any]) -> str:
    data = f"`{about['dataset']}`" if about.get("dataset") else "the data set it was trained on"
    lines = [
        f"- It knows digits like those of {data}, white on black, and nothing else: whatever it is "
        f"shown, it answers with one of its {config.classes} classes, and its probabilities are "
        "not calibrated.",
        f"- The input's size is fixed: {'x'.join(map(str, config.in_shape))}.",
        "- It is for research and teaching, not for reading cheques.",
    ]
    return "\n".join(lines)
