"""Bundles as candidates: names, inputs, batches, and engines that are not here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hamsa_deploy.bench import candidates as module
from hamsa_deploy.bench.candidates import candidates_of
from hamsa_deploy.bench.inputs import graph_inputs
from hamsa_runtime import InputError, MissingError, open_bundle

from ..runtime.tiny_bundles import SIZE, MakeBundle


def test_candidates_say_what_runs_them(tiny_bundle: MakeBundle) -> None:
    first, second = candidates_of([tiny_bundle("one"), tiny_bundle("two", "openvino")])
    assert (first.name, first.engine, first.precision) == ("one", "ONNX Runtime", "fp32")
    assert (second.name, second.engine) == ("two", "OpenVINO")


def test_names_tell_bundles_apart(tiny_bundle: MakeBundle) -> None:
    one, other = tiny_bundle("a/nano"), tiny_bundle("b/nano")
    assert [each.name for each in candidates_of([one, other])] == [str(one), str(other)]
    assert [each.name for each in candidates_of([one, one])] == [f"{one} (1)", f"{one} (2)"]


def test_several_devices_make_a_candidate_each_and_say_what_they_run_on(tiny_bundle: MakeBundle) -> None:
    folder = tiny_bundle("tiny", "openvino")
    first, second = candidates_of([folder], ["CPU", "HETERO:CPU"])
    assert [first.name, second.name] == ["tiny on CPU", "tiny on HETERO:CPU"]
    assert (second.engine, second.device, second.processor) == ("OpenVINO on HETERO:CPU", "HETERO:CPU", "CPU")
    with second.opened(2, None) as run:
        assert run()["logits"].shape[0] == 2  # type: ignore[index]
    (only,) = candidates_of([folder], ["AUTO"])
    assert (only.name, only.processor) == ("tiny", "OpenVINO on AUTO")
    with pytest.raises(MissingError, match="no device 'NPU' here"):
        candidates_of([folder], ["CPU", "NPU"])


@pytest.mark.parametrize(
    ("target", "device", "processor"),
    [
        ("onnx", None, "CPU"),
        ("onnx", "HETERO:CUDA.1,TENSORRT", "GPU"),
        ("onnx", "HETERO:CUDA,CPU", "ONNX Runtime on HETERO:CUDA,CPU"),
        ("openvino", "GPU", "OpenVINO on GPU"),  # which is no NVIDIA's
        ("tensorrt", "GPU.1", "GPU"),
    ],
)
def test_energy_is_that_of_what_a_meter_sees(target: str, device: str | None, processor: str) -> None:
    assert module.processor_of(target, device) == processor


def test_a_run_computes_a_whole_batch(tiny_bundle: MakeBundle) -> None:
    (candidate,) = candidates_of([tiny_bundle("tiny")])
    with candidate.opened(3, 1) as run:
        outputs = run()
    assert isinstance(outputs, dict)
    assert outputs["logits"].shape[0] == 3


def test_inputs_are_the_samples_at_the_models_size(tiny_bundle: MakeBundle) -> None:
    manifest = open_bundle(tiny_bundle("tiny")).manifest
    (pixels,) = graph_inputs(manifest, 14).values()  # more than there are photographs: they come round again
    assert (pixels.shape, pixels.dtype) == ((14, *SIZE, 3), np.dtype(np.uint8))
    assert pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels[0], pixels[12])
    assert not np.array_equal(pixels[0], pixels[1])


def test_a_fixed_batch_is_the_only_one(tiny_bundle: MakeBundle) -> None:
    (candidate,) = candidates_of([tiny_bundle("tiny", batch=4)])
    with candidate.opened(4, None) as run:
        run()
    with pytest.raises(InputError, match="exported for this batch"), candidate.opened(1, None):
        pass


def test_a_tensorrt_bundle_is_refused_without_a_gpu(tiny_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "has_gpu", lambda: False)
    with pytest.raises(MissingError, match="no NVIDIA GPU") as caught:
        candidates_of([tiny_bundle("ours"), tiny_bundle("theirs", "tensorrt")])
    assert "says nothing" in str(caught.value)  # ONNX Runtime could run the file
    assert caught.value.exit_code == 4


def test_a_damaged_bundle_is_refused_before_anything_runs(tiny_bundle: MakeBundle) -> None:
    folder = tiny_bundle("tiny")
    with Path(folder, "model.onnx").open("ab") as stream:
        stream.write(b"more")
    with pytest.raises(InputError, match=r"model\.onnx"):
        candidates_of([folder])
