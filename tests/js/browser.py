"""A folder on a web server of this machine, and what a real browser makes of the bundles in it."""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hamsa_deploy.targets.web import SITE

from ..report.browser import browser_here

DRIVER = Path(__file__).parents[2] / "runtimes/js/tests/browser.mjs"
# No window, no sandbox (tests may run as root), and nothing that asks its maker's servers.
QUIET = (
    "--no-sandbox --disable-quic --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync --disable-dev-shm-usage"
).split()
NO_CARD = ["--disable-gpu"]
# WebGPU on the processor, by the Vulkan that the browser brings along.
SOFTWARE_CARD = (
    "--enable-unsafe-webgpu --enable-features=Vulkan --use-vulkan=swiftshader --use-webgpu-adapter=swiftshader "
    "--ignore-gpu-blocklist"
).split()
FAKE_CAMERA = ["--use-fake-device-for-media-stream"]


ISOLATED = "/isolated/"


class Handler(SimpleHTTPRequestHandler):
    """Says nothing of what it serves; what is asked for under ISOLATED may have threads."""

    def translate_path(self, path: str) -> str:
        return super().translate_path(path.replace(ISOLATED, "/", 1) if path.startswith(ISOLATED) else path)

    def end_headers(self) -> None:
        if self.path.startswith(ISOLATED):
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def skip_without_node() -> None:
    """Skip the test where the page is not built, or the browser's driver is not installed."""
    if shutil.which("node") is None:
        pytest.skip("no Node.js here: the page is built and the browser driven with it")
    if not (DRIVER.parents[1] / "node_modules/playwright-core").is_dir() or not (SITE / "index.html").is_file():
        pytest.skip("the page of the target web is not built: make page")


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder, while it is served."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://localhost:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


# A job for browser.mjs, which says what they are, to its answer.
Ask = Callable[[Mapping[str, Any]], dict[str, Any]]


@contextlib.contextmanager
def browsing(folder: Path, options: Sequence[str]) -> Iterator[Ask]:
    """A browser that does one job after the other; the page of SITE is served beside the folder's."""
    skip_without_node()
    shutil.copytree(SITE, folder, dirs_exist_ok=True)
    command = ["node", str(DRIVER), browser_here()]
    pipe = subprocess.PIPE
    with served(folder) as url, subprocess.Popen([*command, url, *QUIET, *options], stdin=pipe, stdout=pipe) as driver:
        ends, answers = driver.stdin, driver.stdout
        assert ends is not None
        assert answers is not None

        def ask(job: Mapping[str, Any]) -> dict[str, Any]:
            ends.write(json.dumps(job).encode() + b"\n")
            ends.flush()
            answer: dict[str, Any] = json.loads(answers.readline() or b"{}")
            return answer

        try:
            yield ask
        finally:
            ends.close()


def array(answer: Mapping[str, Any]) -> np.ndarray:
    data = base64.b64decode(answer["data"])
    return np.frombuffer(data, answer["dtype"]).reshape(answer["shape"])
