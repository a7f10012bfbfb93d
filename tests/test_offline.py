"""No command asks beyond this machine, unless a hub is named."""

import socket

import pytest
from tests import conftest

from spatial_transformer.cli import main
from spatial_transformer.errors import DataError
from spatial_transformer.pretrained import load_pretrained


@pytest.mark.parametrize(
    "command",
    [
        ["list"],
        ["--version"],
        ["doctor"],
        ["eval", "runs/nosuch"],
        ["eval", "someone/something"],
        ["show", "https://example.com/weights"],
        ["export", "someone/something", "--out", "x.onnx"],
        ["train", "--data", "rts", "--model", "st_cn"],
    ],
)
def test_commands_ask_for_nothing(monkeypatch, capsys, command):
    monkeypatch.setattr("sys.argv", ["stn", *command])
    with pytest.raises(SystemExit):
        main()
    assert conftest._requests == []


def test_a_hub_that_is_named_is_asked(monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between its attempts
    with pytest.raises(DataError, match="from the Hugging Face hub"):
        load_pretrained("hf:someone/something")
    assert conftest._requests
    conftest._requests.clear()


def test_requests_are_seen():
    with pytest.raises(PermissionError):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    assert conftest._requests == ["192.0.2.1"]
    conftest._requests.clear()
