"""A cache of the tests' own, tests that need a GPU, and Hypothesis profiles.

Profile `ci` draws the same examples every time, `nightly` (make nightly) many new ones.
"""

from __future__ import annotations

import functools
import gc
import os
import signal
from collections.abc import Iterator

import onnxruntime
import pytest
from hypothesis import HealthCheck, settings

from hamsa_runtime.errors import MissingError
from hamsa_runtime.tensorrt.cuda import gpu_at
from tests.shared import Nano, Once, made_once

# There is a worker for each core: the threads of one would spin while those of another compute. PyTorch reads this when
# it is imported, which workers, started from here, and commands that tests run have yet to do.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell has what it starts in the background ignore Ctrl-C, and tests press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A failing example is printed as a script, so no database of examples is needed. Compiling a program takes a while.
settings.register_profile("base", database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("base"), max_examples=40, derandomize=True)
settings.register_profile("nightly", settings.get_profile("base"), max_examples=2000, derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests measure is not kept for the next run, and what the user has measured is not used."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def short_measurements() -> Iterator[None]:
    """Times are measured in as few rounds as there may be: what they are is for benchmarks/ to say."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hamsa_deploy.measure.execution.MOST_ROUNDS", 10)
        patch.setattr("hamsa_deploy.sweep.run.SECONDS", 0.1)
        yield


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Once:
    """A folder that all workers share, filled by the first one: see `made_once`."""
    return functools.partial(made_once, tmp_path_factory.getbasetemp(), worker_id)


@pytest.fixture(scope="session")
def nano(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Nano:
    """Bundles of hamsa_nano that all tests share: `nano("openvino", "int8")`."""
    return Nano(tmp_path_factory.getbasetemp(), worker_id)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """As above for ONNX Runtime, which reads no variable: after each run, its threads spin for some milliseconds."""
    made = onnxruntime.SessionOptions

    def options() -> onnxruntime.SessionOptions:
        options = made()
        options.intra_op_num_threads = 1
        return options

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnxruntime, "SessionOptions", options)
        yield


@functools.cache
def why_no_gpu() -> str:
    """The reason why tests marked `gpu` cannot run here, by asking CUDA; empty if they can."""
    try:
        gpu_at(0)
    except MissingError as error:
        return f"needs an NVIDIA GPU: {error.found}"
    return ""


def pytest_collection_finish() -> None:
    """A compilation makes and drops many objects. Without all of PyTorch to search through each time, and searched less
    often, it takes a sixth less."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The commands of the pages are one test of minutes: started last, it would leave the other workers idle."""
    items.sort(key=lambda item: "docs/test_commands" not in item.nodeid)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") is not None and why_no_gpu():
        pytest.skip(why_no_gpu())
