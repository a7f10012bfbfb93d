"""The demo's routes over HTTP, without a browser: answers, refusals, who may ask."""

import json
import socket
import urllib.error
import urllib.request

import pytest

pytest.importorskip("gradio", reason="the demo needs Gradio")

from spatial_transformer.demo.digits import DigitsTab
from spatial_transformer.demo.images import ImagesTab
from spatial_transformer.demo.server import build_app, serving
from spatial_transformer.errors import BackendError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def url():
    with serving(build_app(DigitsTab([], None), ImagesTab())) as address:
        yield address


def post(url, path, data, kind="application/json", **headers):
    """Status and JSON (or text) of the answer."""
    request = urllib.request.Request(
        f"{url}{path}", data=data, headers={"content-type": kind, **headers}
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        text = error.read().decode()
        return error.code, json.loads(text) if text.startswith("{") else text


def test_it_listens_on_loopback_alone(url):
    port = int(url.rstrip("/").rpartition(":")[2])
    assert url.startswith("http://127.0.0.1:")
    names = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    for name in names - {"127.0.0.1"}:
        with socket.socket() as other:
            other.settimeout(2)
            assert other.connect_ex((name, port)) != 0, name
    with (
        pytest.raises(BackendError, match=f"port {port} .* name another with --port"),
        serving(None, port),
    ):
        pass


def test_the_page_names_nothing_elsewhere(url):
    with urllib.request.urlopen(url) as answer:
        page = answer.read().decode()
        policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "fonts.googleapis" not in page
    assert "cdnjs" not in page


def test_answers(url):
    status, answer = post(url, "stn/setup", b"{}")
    assert status == 200
    assert answer["networks"] == answer["chosen"] == []
    assert len(answer["transforms"]) > 10
    status, answer = post(url, "stn/image", b'{"image": "card"}')
    assert status == 200
    assert answer["pixels"].startswith("data:image/png;base64,")


@pytest.mark.parametrize(
    ("path", "data", "message"),
    [
        ("stn/look", b"", "the request is not JSON"),
        ("stn/look", b"[1]", "the request must be an object, got list"),
        ("stn/look", b"{}", "digit must be base64 text"),
        ("stn/look", b"[" * 50_000, "the request is not JSON"),
        ("stn/look", b"\xff\xfe", "the request is not JSON"),
        ("stn/look", b'{"a": "' + b"a" * 70_000 + b'"}', "too large"),
        ("stn/warp", b'{"transform": "affine", "theta": [NaN]}', "theta must be a list of 6"),
        ("stn/test-digit", b"{}", "MNIST is not on this machine"),
    ],
)
def test_refusals_have_a_message_and_no_traceback(url, path, data, message):
    status, answer = post(url, path, data)
    assert status == 422
    assert message in answer["error"]
    assert "Traceback" not in str(answer)


def test_uploads_are_cut_off(url):
    kind = "application/octet-stream"
    status, answer = post(url, "stn/upload", b"not an image", kind)
    assert (status, answer["error"][:16]) == (422, "this is not an i")
    status, answer = post(url, "stn/upload", bytes(10 * 2**20 + 1), kind)
    assert status == 422
    assert "too large" in answer["error"]


def test_other_sites_are_turned_away(url):
    # a page elsewhere can post text without asking first, but not JSON
    status, answer = post(url, "stn/setup", b"{}", "text/plain")
    assert status == 422
    assert "must be application/json" in answer["error"]
    # nor can a name elsewhere be pointed here
    assert post(url, "stn/setup", b"{}", host="evil.example")[0] == 400
    request = urllib.request.Request(
        f"{url}stn/setup", method="OPTIONS", headers={"origin": "http://evil.example"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert "access-control-allow-origin" not in refused.value.headers


def test_gradio_offers_no_endpoints_of_its_own(url):
    with urllib.request.urlopen(f"{url}gradio_api/info") as answer:
        found = json.load(answer)
    assert found["named_endpoints"] == found["unnamed_endpoints"] == {}
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"{url}openapi.json")
