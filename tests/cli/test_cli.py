"""The command line as a user meets it: small runs end to end, helpful errors, exit codes."""

import json
import re
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from spatial_transformer.cli.app import app, main
from spatial_transformer.cli.report import print_table
from spatial_transformer.experiments.tables.table1.config import TABLE1
from spatial_transformer.experiments.training.checkpoint import load_checkpoint, save_checkpoint

COMMANDS = [
    "train",
    "eval",
    "show",
    "reproduce",
    "film",
    "report",
    "pretrained",
    "export",
    "list",
    "demo",
    "doctor",
]


def stn(capsys, *words):
    """Exit code, output, errors of ``stn words``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["stn", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    out, err = capsys.readouterr()
    plain = re.compile(r"\x1b\[[0-9;]*m")
    return code, plain.sub("", out), plain.sub("", err)


SMALL = ["--data", "r", "--iterations", 6, "--batch-size", 16, "--parameters", 40_000,
         "--device", "cpu"]  # fmt: skip


def test_train_eval_show_report(tiny, tmp_path, capsys):
    out = tmp_path / "runs"
    common = ["--data-root", tiny, "--out", out]
    code, text, log = stn(capsys, "train", "--model", "st_fcn", *SMALL, *common)
    assert code == 0, log
    assert "r--st_fcn_affine--seed0: test error" in text
    assert "step 6 of 6, loss" in log
    record = json.loads((out / "table1" / "r--st_fcn_affine--seed0.json").read_text())
    wanted = {
        "experiment", "dataset", "model", "seed", "test_error_percent", "iterations", "batch_size",
        "parameters", "recipe", "wall_seconds", "hardware", "torch", "commit",
    }  # fmt: skip
    assert wanted <= set(record)
    assert record["parameters"] == pytest.approx(40_000, rel=0.02)

    run = out / "table1" / "r--st_fcn_affine--seed0"
    code, text, log = stn(capsys, "eval", run, "--device", "cpu", "--data-root", tiny)
    assert code == 0, log
    error = f"{record['test_error_percent']:.2f} %"
    assert f"after 6 steps: r test error {error}" in text

    picture = tmp_path / "sheet.png"
    code, _, log = stn(
        capsys, "show", run, "--out", picture, "--count", 4, "--device", "cpu", "--data-root", tiny
    )
    assert code == 0, log
    pixels = np.asarray(Image.open(picture).convert("RGB")).reshape(-1, 3)
    assert (pixels == [0xE6, 0x9F, 0x00]).all(1).sum() > 50  # the grid is drawn

    assert stn(capsys, "train", "--model", "fcn", *SMALL, *common)[0] == 0
    # every run of a table at once; one has no transformer, and no theta to show
    pictures = tmp_path / "pictures"
    at = ["--device", "cpu", "--data-root", tiny]
    code, text, log = stn(
        capsys, "show", out, "--kind", "theta,curves", "--out", pictures, "--count", 4, *at
    )
    assert code == 0, log
    drawn = {p.relative_to(pictures).as_posix() for p in pictures.rglob("*.png")}
    assert drawn == {
        "r--fcn--seed0/curves.png",
        "r--st_fcn_affine--seed0/curves.png",
        "r--st_fcn_affine--seed0/theta.png",
    }
    assert "no theta: r--fcn--seed0 has no" in text
    code, _, log = stn(capsys, "show", out, "--out", picture, *at)
    assert code != 0
    assert "several pictures need a folder" in log
    code, text, _ = stn(capsys, "report", out, "--markdown")
    assert code == 0
    assert text.startswith("| model | parameters | steps | R |")
    assert "| fcn |" in text
    assert f"| st_fcn_affine | {record['parameters']:,} | 6 |" in text
    code, text, _ = stn(capsys, "report", out)
    assert code == 0
    assert "table1: test error, %" in text
    assert "st_fcn_affine" in text
    assert f"{record['test_error_percent']:.2f}" in text
    # of 6 steps, which are not the paper's table
    code, text, log = stn(capsys, "report", out, "--experiment", "table1")
    assert code == 0
    assert "2 of 2 records are not in this table: they are of other options than table1's" in log
    assert f"{record['test_error_percent']:.2f}" not in text


def test_a_finished_run_is_not_trained_again_and_gives_the_same_numbers(tiny, tmp_path, capsys):
    common = ["--data-root", tiny, "--out", tmp_path, "--model", "fcn", *SMALL]
    record = tmp_path / "table1" / "r--fcn--seed0.json"
    stn(capsys, "train", *common)
    first = json.loads(record.read_text())
    _, _, log = stn(capsys, "train", *common)
    again = json.loads(record.read_text())
    assert "step" not in log
    for key in ("test_error_percent", "test_loss", "train_loss", "validation_error_percent"):
        assert first[key] == again[key]
    code, _, log = stn(capsys, "train", *common, "--batch-size", 8)
    assert code == 1
    assert "belongs to another run (it differs in recipe)" in log


def test_train_without_data_and_model_shows_its_help(capsys):
    code, text, _ = stn(capsys, "train")
    assert code == 2
    assert "Usage: stn train" in text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_says_where_it_stopped_and_how_it_goes_on(tiny, tmp_path, capsys, number):
    from spatial_transformer.experiments.training.progress import ProgressBar

    def step(self, iteration, loss, error_percent):
        if iteration == 3:
            signal.raise_signal(number)

    words = ["train", *SMALL, "--model", "cnn", "--data-root", tiny, "--out", tmp_path]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ProgressBar, "step", step)
        code, _, log = stn(capsys, *words)
    assert code == 130
    assert "stopped after step 3 of 6, which is saved: the same command goes on" in log
    code, text, _ = stn(capsys, *words)
    assert code == 0
    assert "test error" in text


def test_unexpected_errors_are_told_in_a_line_and_whole_where_that_is_asked_for(
    tiny, tmp_path, capsys, monkeypatch
):
    from spatial_transformer.experiments.runner import run

    def broken(*_, **__):
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr(run, "build_model", broken)
    words = ["train", *SMALL, "--data-root", tiny, "--out", tmp_path / "out"]
    code, _, log = stn(capsys, *words)
    assert code == 1
    assert log.splitlines() == ["error: ZeroDivisionError: of ours (all of it: stn --debug ...)"]
    with pytest.raises(ZeroDivisionError):
        stn(capsys, "--debug", *words)
    assert not (tmp_path / "out").exists()  # nothing is made before all is checked


def test_wrong_names_and_files_are_told_in_one_line(tiny, tmp_path, capsys):
    (tmp_path / "file").touch()
    (tmp_path / "r--cnn--seed0.json").touch()
    root = ["--data-root", tiny, "--out", tmp_path]
    train = ["train", "--data", "r"]
    for words, message in [
        (["train", "--data", "rst", *root], "unknown data set 'rst'. Did you mean 'rts'?"),
        (["train", "--model", "stcnn", *root], "unknown model 'stcnn'. Did you mean 'st_cnn'?"),
        (["train", "--transform", "afine", *SMALL, *root], "unknown transform 'afine'"),
        (
            ["train", "--data", "r", "--recipe", "slow", *root],
            "unknown recipe 'slow'. Known: default, quick",
        ),
        (
            ["train", "--data", "r", "--device", "cuda:9", *root],
            "device 'cuda:9' is not available here",
        ),
        ([*train, "--data-root", tmp_path / "no"], "no: no such folder"),
        (["eval", tmp_path / "no"], "no: no such folder; unknown name of trained weights"),
        (["show", tmp_path / "r--cnn--seed0"], "there is its record, but no checkpoint"),
        (["report", tmp_path / "no"], "no: no records there"),
        (["train", "--model", "locator", *SMALL, *root], "a Locator is no classifier"),
        (["export", "affine", "--out", tmp_path / "file" / "x.pt2"], "file"),
        (["train", *SMALL, "--data-root", tiny, "--out", tmp_path / "file"], "file"),
    ]:
        code, _, log = stn(capsys, *words)
        assert code == 1, words
        assert log.startswith("error: "), log
        assert message in log
        assert "Traceback" not in log


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--iterations", 0], "iterations must be a positive whole number, got 0"),
        (["--iterations", -5], "iterations must be a positive whole number, got -5"),
        (["--batch-size", 0], "batch_size must be a positive whole number, got 0"),
        (["--batch-size", 10**6], "batch_size must be in 1..200, got 1000000"),
        (["--parameters", 0], "parameters must be a positive whole number, got 0"),
        (["--parameters", 9], "a budget of 9 parameters is too small"),
    ],
)
def test_numbers_that_cannot_be_are_told_in_one_line(words, message, tiny, tmp_path, capsys):
    code, _, log = stn(
        capsys, "train", "--model", "st_fcn", "--data", "r", "--device", "cpu", "--data-root", tiny,
        "--out", tmp_path, *words,
    )  # fmt: skip
    assert code == 1
    assert log.startswith(f"error: {message}")
    assert len(log.splitlines()) == 1


def test_a_run_that_diverges_is_told_in_one_line(tiny, tmp_path, capsys, monkeypatch):
    recipe = replace(TABLE1.recipes["default"], lr=1e30)
    monkeypatch.setitem(TABLE1.recipes, "default", recipe)
    words = ["--model", "st_fcn", *SMALL, "--data-root", tiny, "--out", tmp_path]
    code, _, log = stn(capsys, "train", *words)
    assert code == 1
    (line,) = [line for line in log.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: step 2: the loss is nan, the gradient of ")
    assert line.endswith(
        "Batch 1 is finite: a lower lr, or gradients bounded by clip, may help. "
        "There is no checkpoint."
    )
    assert "Traceback" not in log
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("command", ["train", "eval", "show"])
def test_a_seed_is_none_below_zero(command, capsys):
    words = [command] if command == "train" else [command, "cnn_r"]
    code, _, log = stn(capsys, *words, "--seed", -1)
    assert code == 2
    assert "Invalid value for '--seed'" in log  # how it goes on differs from typer to typer


def test_a_table_wider_than_the_terminal_has_every_number(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    header = ["model", *(f"DATA{k}" for k in range(20))]
    print_table("errors", header, [["st_cnn_affine", *(f"{k}.25 ± 0.50 (3)" for k in range(20))]])
    text = capsys.readouterr().out
    for wanted in (*header, "st_cnn_affine", *(f"{k}.25 ± 0.50 (3)" for k in range(20))):
        assert wanted in text


@pytest.mark.slow
def test_a_network_without_a_transformer_is_shown_without_grids(tiny, tmp_path, capsys):
    common = ["--device", "cpu", "--data-root", tiny]
    stn(capsys, "train", "--model", "fcn", *SMALL, "--data-root", tiny, "--out", tmp_path)
    run = tmp_path / "table1" / "r--fcn--seed0"
    code, text, log = stn(capsys, "show", run, "--kind", "all", "--out", tmp_path / "all", *common)
    assert code == 0, log
    names = {p.name for p in (tmp_path / "all").iterdir()}
    assert names == {"sheet.png", "mistakes.png", "means.png", "curves.png"}
    assert "no theta: r--fcn--seed0 has no spatial transformer to show" in text
    for words, message in [
        (["show", run, "--kind", "theta"], "has no spatial transformer to show"),
        (
            ["show", run, "--kind", "sheets"],
            "unknown kind of picture 'sheets'. Did you mean 'sheet'? Known: sheet",
        ),
        (["show", run, "--kind", "sheet,means", "--out", "x.png"], "need a folder"),
        (["show", run, "--out", tmp_path / "x.jpg"], "a picture is one of .png, .pdf, .svg"),
        (["film", run, "--out", tmp_path / "x.avi"], "a film is one of .gif, .mp4"),
        (["film", run, "--what", "life"], "there is no film of 'life'. Known: motion, training"),
    ]:
        code, _, log = stn(capsys, *words, *common)
        assert code == 1, words
        assert message in log
    film = tmp_path / "learning.gif"
    words = ["film", run, "--what", "training", "--out", film, "--frames", 3, "--count", 2]
    code, text, log = stn(capsys, *words, *common)
    assert code == 0, log
    assert "3 frames" in text
    with Image.open(film) as read:
        assert read.n_frames == 3


@pytest.mark.slow
def test_a_run_without_a_history_says_so(tiny, tmp_path, capsys):
    common = ["--device", "cpu", "--data-root", tiny]
    stn(capsys, "train", "--model", "st_fcn", *SMALL, "--data-root", tiny, "--out", tmp_path)
    run = tmp_path / "table1" / "r--st_fcn_affine--seed0"
    state = load_checkpoint(run / "checkpoint.pt")
    del state["history"]  # as versions before this one wrote it
    save_checkpoint(run / "checkpoint.pt", state)
    for words in (["show", run, "--kind", "curves"], ["film", run, "--what", "training"]):
        code, _, log = stn(capsys, *words, *common)
        assert code == 1
        assert "r--st_fcn_affine--seed0 has no history: weights alone have none" in log
    code, text, log = stn(capsys, "show", run, "--kind", "all", "--out", tmp_path / "all", *common)
    assert code == 0, log
    assert "no paths: r--st_fcn_affine--seed0 has no history" in text
    assert (tmp_path / "all" / "theta.png").is_file()


def test_pretrained_makes_a_folder_that_eval_and_show_take(tiny, tmp_path, capsys):
    common = ["--data-root", tiny]
    stn(capsys, "train", "--model", "st_fcn", *SMALL, *common, "--out", tmp_path)
    run, folder = tmp_path / "table1" / "r--st_fcn_affine--seed0", tmp_path / "st_fcn_affine_r"
    code, text, log = stn(capsys, "pretrained", run, "--out", folder, *common)
    assert code == 0, log
    record = json.loads(run.with_suffix(".json").read_text())
    error = f"{record['test_error_percent']:.2f} %"
    assert f"st_fcn_affine, r test error {error}, 0.16 MB of weights" in text
    card = (folder / "README.md").read_text()
    assert f"| {error} | 100 | `stn eval st_fcn_affine_r --device cpu` |" in card
    words = ["stn", "train", "--experiment", "table1", "--model", "st_fcn", "--transform", "affine"]
    (line,) = [line for line in card.splitlines() if line.startswith("    stn train")]
    assert set(words + [str(w) for w in SMALL[:-2]]) <= set(line.split())
    told = json.loads((folder / "config.json").read_text())["record"]
    assert told == record | {"mistakes": None}

    code, text, log = stn(capsys, "eval", folder, "--device", "cpu", *common)
    assert code == 0, log
    assert f"st_fcn_affine_r: r test error {error}" in text
    picture = tmp_path / "sheet.png"
    stn(capsys, "show", folder, "--out", picture, "--count", 4, "--device", "cpu", *common)
    assert picture.is_file()

    record["recipe"]["lr"] = 1.0
    run.with_suffix(".json").write_text(json.dumps(record))
    code, _, log = stn(capsys, "pretrained", run, "--out", folder, *common)
    assert code == 1
    assert "not the record of this checkpoint" in log
    run.with_suffix(".json").unlink()
    code, _, log = stn(capsys, "pretrained", run, "--out", folder, *common)
    assert code == 1
    assert "r--st_fcn_affine--seed0.json: not a record" in log


def test_options_of_warps_are_refused_for_networks(tmp_path, capsys):
    words = ("export", "cnn_rts_small", "--sampler", "bicubic", "--output-size", 8)
    code, _, log = stn(capsys, *words, "--out", tmp_path / "x.onnx")
    assert code == 1
    assert "no transform: --sampler, --output-size would change nothing of a network" in " ".join(
        log.split()
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_export_writes_networks_and_warps(tiny, tmp_path, capsys):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    common = ["--data-root", tiny]
    stn(capsys, "train", "--model", "st_fcn", *SMALL, *common, "--out", tmp_path)
    run = tmp_path / "table1" / "r--st_fcn_affine--seed0"
    code, text, log = stn(capsys, "export", run, "--out", tmp_path / "digits.onnx", *common)
    assert code == 0, log
    assert "digits.onnx: 0." in text
    assert float(text.split("largest difference ")[1]) <= 1e-5
    model = onnx.load(tmp_path / "digits.onnx")
    assert [o.name for o in model.graph.output] == ["scores", "warped", "theta"]
    about = {p.key: p.value for p in model.metadata_props}
    assert about["dataset"] == "r"
    assert json.loads(about["labels"]) == list("0123456789")

    warp = tmp_path / "a[b][/c].pt2"  # which a terminal's markup would swallow
    code, text, log = stn(capsys, "export", "affine", "--out", warp)
    assert code == 0, log
    assert f"wrote {warp}: " in text
    assert warp.is_file()

    warp = tmp_path / "warp.onnx"
    words = ["--sampler", "bspline3", "--padding", "border", "--output-size", 8]
    code, _, log = stn(capsys, "export", "attention", *words, "--input-size", 12, "--out", warp)
    assert code == 0, log
    (shape,) = [i.type.tensor_type.shape for i in onnx.load(warp).graph.input if i.name == "image"]
    assert [d.dim_param or d.dim_value for d in shape.dim] == ["batch", "channels", 12, 12]
    for more, message in [
        (["attention", "--out", tmp_path / "x.pb"], "must end in .onnx or .pt2"),
        (
            ["log_polar", "--padding", "edge", "--out", tmp_path / "x.onnx"],
            "unknown padding 'edge'",
        ),
        (["nothing", "--out", tmp_path / "x.onnx"], "no such folder; unknown name"),
    ]:
        code, _, log = stn(capsys, "export", *more)
        assert code == 1, more
        assert message in log
    assert not list(tmp_path.glob("x*"))


def test_reproduce_plans_and_names_what_it_does_not_know(tiny, tmp_path, capsys):
    words = ["reproduce", "table1", "--out", tmp_path, "--dry-run"]
    code, text, _ = stn(capsys, *words, "--datasets", "rts,r", "--models", "cnn, st_cnn_affine")
    assert code == 0
    assert text.split() == [f"{d}--{m}--seed0" for d in ("rts", "r")
                            for m in ("st_cnn_affine", "cnn")]  # fmt: skip
    for more, message in [
        (
            ["--models", "dnn"],
            "unknown model 'dnn'. Did you mean 'cnn'? Known: fcn, cnn, st_fcn",
        ),
        (["--datasets", "svhn"], "unknown data set 'svhn'. Known: r, rts"),
        (["--recipe", "slow"], "unknown recipe 'slow'. Known: default"),
    ]:
        code, _, log = stn(capsys, *words, *more)
        assert code == 1
        assert message in log
    code, _, log = stn(capsys, "reproduce", "table9")
    assert code == 1
    assert "unknown experiment 'table9'. Did you mean 'table1'? Known: table1" in log


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command, capsys):
    code, text, _ = stn(capsys, command, "--help")
    assert code == 0
    assert f"stn {command}" in text.split("Usage:")[1].split("\n", 1)[1]


def test_usage(capsys):
    assert {c.name for c in app.registered_commands} == set(COMMANDS)
    assert stn(capsys, "fly")[0] == 2
    assert stn(capsys, "--version")[1].strip()
    assert stn(capsys)[0] == 2
    code, text, _ = stn(capsys, "list")
    assert code == 0
    for name in ("affine", "bilinear", "wrap", "st_cnn", "rts", "paper", "convolutional"):
        assert name in text
    code, text, _ = stn(capsys, "doctor")
    assert code == 0
    for name in ("torch", "backend eager", "backend cpu", "MNIST"):
        assert name in text


@pytest.mark.slow
def test_the_installed_command_works():
    done = subprocess.run(
        [sys.executable, "-m", "spatial_transformer.cli.app", "list"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "thin_plate_spline" in done.stdout
