"""Loading and memory: /proc's text, and one real bundle in a process of its own."""

from __future__ import annotations

import pytest

from hamsa_deploy.bench.loading import Load, kibibytes, load_in_own_process, typical
from hamsa_runtime.errors import BuildError

from ..runtime.tiny_bundles import MakeBundle

STATUS = "Name:\tpython\nVmPeak:\t  900000 kB\nVmHWM:\t  123456 kB\nVmRSS:\t   98765 kB\nThreads:\t3\n"


def test_resident_sizes_are_read_from_proc() -> None:
    assert (kibibytes("VmHWM", STATUS), kibibytes("VmRSS", STATUS)) == (123456, 98765)


def test_a_system_without_the_line_is_an_error() -> None:
    with pytest.raises(KeyError, match="VmHWM"):
        kibibytes("VmHWM", "Name:\tpython\n")


def test_each_figure_is_the_median_of_the_processes() -> None:
    loads = [Load(1.0, 30.0, 200), Load(2.0, 10.0, 300), Load(9.0, 20.0, 100)]
    assert typical(loads) == Load(2.0, 20.0, 200)


def test_a_bundle_is_loaded_and_run_in_a_process_of_its_own(tiny_bundle: MakeBundle) -> None:
    load = load_in_own_process(tiny_bundle("tiny"), batch=2, threads=1, device="HETERO:CPU")
    assert 0 < load.ready < load.first_result
    # A session of ONNX Runtime takes more than 100 kB; a tiny model far less than the 100 MB that Python with the
    # package takes, which must not be in it.
    assert 1e5 < load.memory < 5e7


def test_a_process_that_fails_is_an_error_with_its_last_line(tiny_bundle: MakeBundle) -> None:
    folder = tiny_bundle("tiny", batch=4)
    with pytest.raises(BuildError, match="--batch 4"):
        load_in_own_process(folder, batch=2, threads=1)
