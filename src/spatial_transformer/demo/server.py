"""The demo's web server: Gradio's page, and plain routes for its live parts."""

import json
import math
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

from spatial_transformer.demo.digits import DigitsTab
from spatial_transformer.demo.images import SIZES, ImagesTab, describe
from spatial_transformer.demo.networks import facts, first_choice, input_size, pose_range
from spatial_transformer.demo.page import ASSETS, build_page, page_options
from spatial_transformer.demo.payload import as_object
from spatial_transformer.demo.pictures import MOST_BYTES
from spatial_transformer.errors import BackendError, DataError, OptionError, SpatialTransformerError
from spatial_transformer.experiments.data.distortion import PoseRange
from spatial_transformer.extras import require
from spatial_transformer.transforms import list_transforms

HOST = "127.0.0.1"
#: of a request that is not an upload
MOST_JSON = 64 * 2**10
#: a safety net under the page, which needs nothing from anywhere else
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "worker-src 'self' blob:; frame-ancestors 'none'"
)


def setup(digits: DigitsTab) -> dict[str, Any]:
    """What the page's script requests once."""
    networks = list(digits.networks.values())
    return {
        "networks": [
            {
                "name": n.name,
                "facts": facts(n),
                "dataset": n.dataset,
                "size": input_size(n),
                "ranges": _ranges(pose_range(n)),
            }
            for n in networks
        ],
        "chosen": first_choice(networks, networks[0].dataset) if networks else [],
        "testDigits": 0 if digits.digits is None else len(digits.digits),
        "transforms": [describe(name) for name in list_transforms()],
        "sizes": SIZES,
        "mostBytes": MOST_BYTES,
    }


def _ranges(ranges: PoseRange | None) -> dict[str, Any] | None:
    if ranges is None:
        return None
    return {**asdict(ranges), "angle": [round(math.degrees(a)) for a in ranges.angle]}


def build_app(digits: DigitsTab, images: ImagesTab) -> Any:
    """The demo as an ASGI application (FastAPI).

    Raises:
        OptionError: If Gradio is not installed.
    """
    gradio = require("gradio", "demo")  # and what comes with it:
    from fastapi import FastAPI
    from starlette.concurrency import run_in_threadpool
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.staticfiles import StaticFiles

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    # names other than these are another site's that points here
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    app.add_middleware(_AddPolicy)

    async def body(request: Request, kind: str, most: int) -> bytes:
        # another site's page can send neither of these kinds without asking first
        if request.headers.get("content-type", "").partition(";")[0] != kind:
            raise OptionError(f"the request must be {kind}")
        data = bytearray()
        async for chunk in request.stream():
            data += chunk
            if len(data) > most:
                raise DataError(f"the file is too large: at most {most // 2**20} MB")
        return bytes(data)

    def route(path: str, answer: Callable[[Any], dict[str, Any]], upload: bool = False) -> None:
        async def handle(request: Request) -> Response:
            try:
                if upload:
                    given: Any = await body(request, "application/octet-stream", MOST_BYTES)
                else:
                    given = _parse(await body(request, "application/json", MOST_JSON))
                return JSONResponse(await run_in_threadpool(answer, given))
            except SpatialTransformerError as error:
                return JSONResponse({"error": str(error)}, status_code=422)

        app.add_route(f"/stn/{path}", handle, methods=["POST"])

    route("setup", lambda _: setup(digits))
    route("test-digit", digits.test_digit)
    route("digit", digits.digit_of_picture, upload=True)
    route("differ", digits.differ)
    route("look", digits.look)
    route("image", images.get)
    route("upload", images.add, upload=True)
    route("warp", images.warp)
    app.mount("/stn/assets", StaticFiles(directory=ASSETS))
    page = build_page(list(digits.networks.values()))
    return gradio.mount_gradio_app(app, page, path="/", **page_options())


def wait() -> None:
    """Wait for Ctrl-C, or a termination signal that Python turns into one."""
    with suppress(KeyboardInterrupt):
        threading.Event().wait()


class _AddPolicy:
    """Middleware: adds the content security policy to every response."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                header = (b"content-security-policy", POLICY.encode())
                message = {**message, "headers": [*message["headers"], header]}
            await send(message)

        await self.app(scope, receive, with_policy)


def _parse(data: bytes) -> Any:
    try:
        return as_object(json.loads(data), "the request")
    except (ValueError, RecursionError) as error:
        if isinstance(error, OptionError):
            raise
        raise OptionError(f"the request is not JSON: {error}") from error


@contextmanager
def serving(app: Any, port: int = 0) -> Iterator[str]:
    """Serve ``app`` on loopback while the context is open; yields its address.

    ``port`` 0 is any free one.

    Raises:
        BackendError: If the port is taken.
    """
    import uvicorn

    # said to be TCP, so that asyncio sends small answers at once; else each waits for 40 ms
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            raise BackendError(
                f"port {port} of {HOST} cannot be had: {error.strerror}; name another with --port"
            ) from error
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            while not server.started:
                if not thread.is_alive():
                    raise BackendError("the demo's server did not start")
                thread.join(0.02)
            yield f"http://{HOST}:{listener.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join(10)
