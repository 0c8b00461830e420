"""An ONNX file from elsewhere, tried: what an export does with it, once, in a process of its own.

The graph is made real, and run on random inputs: as the file says, in float64, and by the engine that it is exported
for, or ONNX Runtime where that needs a GPU. What it takes for other inputs may be more: a size can be computed from
them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from hamsa_deploy.form.from_request import EXAMPLE_BATCH, random_arrays, real_model_of_request
from hamsa_deploy.form.real_model import RealModel
from hamsa_deploy.form.request import Request
from hamsa_deploy.onnx_import import OnnxFile, ReferenceSession, load_onnx
from hamsa_deploy.pipeline.files import write_files
from hamsa_deploy.pipeline.manifest import manifest_of
from hamsa_deploy.pipeline.progress import no_progress
from hamsa_deploy.pipeline.staging import Stage
from hamsa_deploy.targets import target_of
from hamsa_runtime.engine import Engine
from hamsa_runtime.manifest import BATCH
from hamsa_runtime.trial import limited, seconds_for, try_in_a_process
from hamsa_runtime.whole_files import scratch_folder

ON_ANY_MACHINE = "onnx"


def try_file(request: Request) -> None:
    """Try the file that a request exports; nothing where it is a module, or `timeout` is 0.

    Raises:
        InputError: see `try_in_a_process`. What else is wrong with the file, the export says.
    """
    file = request.model
    if not isinstance(file, OnnxFile) or not request.timeout:
        return
    to = ON_ANY_MACHINE if target_of(request.to).needs_gpu else request.to
    shapes = [tuple(example.shape) for example in request.example_inputs or ()]
    size = sum((file.path.parent / name).stat().st_size for name in file.sha256)
    with scratch_folder() as folder:
        words = json.dumps([str(file.path), to, shapes, request.fixed_batch, str(folder), size])
        try_in_a_process(str(file.path), __name__, _run_file.__name__, [words], seconds_for(request.timeout, size))


def _run_file(words: Sequence[str]) -> None:
    path, to, shapes, batch, folder, size = json.loads(words[0])
    made: list[tuple[OnnxFile, RealModel]] = []

    def write() -> None:
        file = load_onnx(path)
        examples = [torch.empty(shape, device="meta") for shape in shapes] or None
        request = Request(file, examples, to=to, batch=batch)
        form = real_model_of_request(request)
        made.append((file, form))
        written = write_files(request, form, Path(folder), no_progress)
        Stage(Path(folder), Path(folder)).write_manifest(written.added_to(manifest_of(request, form)))

    def compute() -> None:
        file, form = made[0]
        ReferenceSession(file)(random_arrays(form.inputs, {BATCH: EXAMPLE_BATCH}))

    def run() -> None:
        _, form = made[0]
        with Engine(folder) as engine:
            engine(random_arrays(form.inputs, {BATCH: EXAMPLE_BATCH}))

    limited([write, compute, run], size)
