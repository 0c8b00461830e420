"""The target web: a folder for any web server, whose page runs the typed ONNX file in the visitor's browser.

The page, the package @hamsa/runtime and onnxruntime-web are built once from runtimes/js, into SITE, which wheels hold:
an export needs neither Node.js nor a network, and a visitor needs nothing from elsewhere.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hamsa_deploy.targets.here import HERE, Answer, Machine
from hamsa_deploy.targets.onnx import TARGET as ONNX
from hamsa_deploy.targets.record import Target
from hamsa_runtime.errors import MissingError
from hamsa_runtime.vocabulary import SAMPLE_FILE

if TYPE_CHECKING:
    import numpy as np

SITE = Path(__file__).with_name("site")
BUILD = "make page, with Node.js 20.19 or newer, in a checkout of hamsa-deploy"


@dataclass(frozen=True)
class Web(Target):
    """See `Target`."""

    def check_here(self, precision: str, device: str | None) -> None:
        """Refuse an export where the page was never built."""
        if not (SITE / "index.html").is_file():
            raise MissingError(
                f"{SITE}: the page of the target web is not built",
                expected="it in every wheel of hamsa-deploy; a checkout has to build it once",
                fix=BUILD,
            )

    def complete(self, folder: Path, sample: Callable[[], Mapping[str, np.ndarray]]) -> None:
        """The page beside the bundle, and what it compares with once more."""
        from safetensors.numpy import save

        # Contents without modes, and no save_file, which lets nobody else read: a web server has to.
        shutil.copytree(SITE, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)
        (folder / SAMPLE_FILE).write_bytes(save(dict(sample())))

    def answer(self, precision: str, machine: Machine) -> Answer:
        """Whether the page is there."""
        try:
            self.check_here(precision, None)
        except MissingError:
            return Answer(False, f"the page is not built: {BUILD}")
        return Answer(True, engine=HERE)


TARGET = Web(
    "web",
    precisions=ONNX.precisions,
    rates=ONNX.rates,  # not fitted: the same kernels, built for WebAssembly
    lacks=ONNX.lacks,
    int8=ONNX.int8,
    for_browsers=True,
    timed_beside_float32=False,  # times of this machine's processor say nothing of a browser
)
