"""The target executorch: one program that computes what the model does; and what cannot be one is refused by name."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

import hamsa_deploy
from hamsa_deploy.bench.candidates import candidates_of
from hamsa_deploy.form.from_request import real_model_of_request
from hamsa_deploy.form.request import Request
from hamsa_deploy.onnx_import import load_onnx
from hamsa_deploy.pipeline.checks import check_request
from hamsa_deploy.pipeline.files import write_files
from hamsa_deploy.pipeline.progress import no_progress
from hamsa_deploy.pipeline.run import stages_of
from hamsa_deploy.report.precision_map import precision_maps
from hamsa_deploy.scan.forms import Loop, Size, cheapest
from hamsa_deploy.targets import target_of
from hamsa_deploy.targets.record import Order, Target
from hamsa_runtime import Engine
from hamsa_runtime.bundle import Bundle
from hamsa_runtime.errors import BuildError, InputError, MissingError
from hamsa_runtime.manifest import InputSpec

NEEDS = "executorch is not installed: pip install 'hamsa-deploy[executorch]'"
needs_executorch = pytest.mark.skipif(importlib.util.find_spec("executorch") is None, reason=NEEDS)
TARGET = target_of("executorch")


class Filter(nn.Module):
    """A learned filter of spectra, behind which a convolution and a norm stand; and the numbers of positive outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(9, dtype=torch.complex64, generator=torch.Generator().manual_seed(0)))
        self.norm = nn.LayerNorm(16)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.norm(torch.fft.irfft(torch.fft.rfft(x) * self.weight, n=16))
        return {"y": y, "positive": (y > 0).sum(-1)}


class Running(nn.Module):
    """Keeps a sum of spectra between calls."""

    heard: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("heard", torch.ones(1, 9))

    def forward(self, x: Tensor) -> Tensor:
        self.heard = self.heard + torch.fft.rfft(x).abs()
        return self.heard


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("executorch") / "bundle"
    return hamsa_deploy.export(Filter().eval(), example_inputs=(torch.randn(2, 16),), to="executorch", output=folder)


@needs_executorch
def test_a_bundle_holds_the_program_alone_and_agrees_with_the_model(bundle: Bundle) -> None:
    assert list(bundle.manifest.files) == ["model.pte"]
    assert bundle.manifest.parity is not None
    x = torch.randn(19, 16, generator=torch.Generator().manual_seed(1))  # more than one call takes
    expected = Filter().eval()(x)
    with Engine(bundle.folder) as engine:
        found = engine({"x": x.numpy()})
        alone = [engine({"x": row[None].numpy()})["y"] for row in x]
    np.testing.assert_allclose(found["y"], expected["y"].detach(), atol=2e-5)
    np.testing.assert_array_equal(found["positive"], expected["positive"])
    np.testing.assert_allclose(found["y"], np.concatenate(alone), atol=1e-6)


@needs_executorch
def test_what_runs_is_known_and_xnnpack_is_in_it(bundle: Bundle) -> None:
    with Engine(bundle.folder) as engine:
        kinds = {each.kind for each in engine.operators()}
        assert "XNNPACK" in engine.describe()["operators"]
        with pytest.raises(MissingError, match="does not time operators"):
            engine.profile()
    assert "XnnpackBackend" in kinds
    assert precision_maps(bundle.folder) == []  # nothing says which modules they are of
    (candidate,) = candidates_of([bundle.folder])
    assert candidate.engine == "ExecuTorch"
    with candidate.opened(8, None) as run:  # whatever the example's batch
        assert run() is not None
    with pytest.raises(InputError, match="a batch of 9"), candidate.opened(9, None):
        pass


class Halves(nn.Module):
    """Takes its input apart, along another axis than the batch."""

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=-1)
        return a * torch.sigmoid(b)


@needs_executorch
def test_the_batch_varies_behind_a_split(tmp_path: Path) -> None:
    examples = (torch.randn(2, 8),)
    hamsa_deploy.export(Halves().eval(), example_inputs=examples, to="executorch", output=tmp_path / "bundle")
    x = torch.randn(11, 8, generator=torch.Generator().manual_seed(1))
    with Engine(tmp_path / "bundle") as engine:
        np.testing.assert_allclose(engine({"x": x.numpy()})["output"], Halves()(x), atol=1e-6)


@needs_executorch
def test_what_a_model_keeps_goes_from_call_to_call(tmp_path: Path) -> None:
    model = Running().eval()
    hamsa_deploy.export(model, example_inputs=(torch.randn(1, 16),), to="executorch", output=tmp_path / "bundle")
    fresh, x = Running().eval(), torch.randn(1, 16, generator=torch.Generator().manual_seed(2))
    with Engine(tmp_path / "bundle") as engine, torch.no_grad():
        for _ in range(3):
            np.testing.assert_allclose(engine({"x": x.numpy()})["output"], fresh(x), rtol=1e-5)


@needs_executorch
def test_a_manifest_of_another_model_is_told_before_it_runs(bundle: Bundle, tmp_path: Path) -> None:
    manifest = json.loads((bundle.folder / "manifest.json").read_text())
    manifest["inputs"][0]["shape"] = ["batch", 8]
    (tmp_path / "model.pte").write_bytes((bundle.folder / "model.pte").read_bytes())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BuildError, match="the model's input 'x' is float32"):
        Engine(tmp_path)


@needs_executorch
def test_settings_that_it_lacks_are_refused(bundle: Bundle) -> None:
    with pytest.raises(InputError, match="threads is 1"):
        Engine(bundle.folder, threads=1)
    with pytest.raises(MissingError, match="no device 'GPU'"):
        Engine(bundle.folder, device="GPU")


@needs_executorch
def test_an_operator_without_a_kernel_is_a_build_error_that_names_it(tmp_path: Path) -> None:
    @torch.library.custom_op("hamsa_tests::unknown", mutates_args=())
    def unknown(x: Tensor) -> Tensor:
        return x.clone()

    unknown.register_fake(torch.empty_like)

    class Unknown(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return unknown(x)

    program = torch.export.export(Unknown().eval(), (torch.ones(2),))
    with pytest.raises(BuildError, match="hamsa_tests"):
        TARGET.write(tmp_path, Order("fp32", program=program, inputs=(InputSpec("x", "float32", (2,)),)))


class Layers(nn.Module):
    """Linear layers with what XNNPACK has in float32 alone between them, and whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(64, 256), nn.LayerNorm(256), nn.Linear(256, 64)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.norm(nn.functional.silu(self.first(x)))
        return {"y": self.last(nn.functional.gelu(y)), "positive": (y > 100).sum(-1)}


@pytest.fixture(scope="module")
def lower(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    torch.manual_seed(0)
    model, folder = Layers().eval(), tmp_path_factory.mktemp("executorch")
    return {
        precision: hamsa_deploy.export(
            model, example_inputs=(torch.randn(2, 64),), to="executorch", precision=precision, output=folder / precision
        )
        for precision in ("fp32", "fp16", "int8")
    }


@needs_executorch
def test_lower_precisions_take_less_and_are_near(lower: dict[str, Bundle]) -> None:
    size = {name: each.manifest.files["model.pte"].bytes for name, each in lower.items()}
    parity = {name: each.manifest.parity for name, each in lower.items()}
    errors = {name: each.metrics["y"]["max_relative_error"] for name, each in parity.items() if each is not None}
    assert 1e-5 < errors["fp16"] < 3e-3  # it is another model, and near
    assert 1e-4 < errors["int8"] < 5e-2
    assert size["fp16"] < 0.6 * size["fp32"]
    assert size["int8"] < 0.4 * size["fp32"]
    assert [each.manifest.execution is None for each in lower.values()] == [True, False, False]


@needs_executorch
@pytest.mark.parametrize(("precision", "said"), [("fp16", "f16"), ("int8", "f32, products i8")])
def test_in_lower_precisions_borders_are_float32_and_a_batch_changes_nothing(
    lower: dict[str, Bundle], precision: str, said: str
) -> None:
    x = torch.randn(11, 64, generator=torch.Generator().manual_seed(1)).numpy()  # more than one call takes
    x[3] *= 50  # the range of its neighbours, where they shared one
    with Engine(lower[precision].folder) as engine:
        assert engine.describe()["precision"] == said
        found = engine({"x": x})
        alone = [engine({"x": row[None]})["y"] for row in x]
    assert {name: array.dtype for name, array in found.items()} == {"y": np.float32, "positive": np.int64}
    np.testing.assert_array_equal(found["y"], np.concatenate(alone))


@needs_executorch
def test_int8_without_a_linear_layer_is_refused(tmp_path: Path) -> None:
    program = torch.export.export(nn.Conv1d(2, 3, 1).eval(), (torch.ones(2, 2, 4),))
    order = Order("int8", program=program, inputs=(InputSpec("x", "float32", (2, 2, 4)),))
    with pytest.raises(BuildError, match="no linear layers"):
        TARGET.write(tmp_path, order)


def test_bfloat16_is_refused_with_its_reason() -> None:
    with pytest.raises(InputError, match="precision bf16 for executorch") as caught:
        check_request(Request(nn.ReLU().eval(), (torch.ones(2, 3),), to="executorch", precision="bf16"))
    assert caught.value.cause == TARGET.lacks["bf16"]


def test_an_onnx_file_is_refused_before_anything_is_built_and_says_why(tmp_path: Path) -> None:
    torch.onnx.export(nn.ReLU(), (torch.ones(2, 3),), tmp_path / "some.onnx", dynamo=True, verbose=False)
    with pytest.raises(InputError, match="an ONNX file for executorch") as caught:
        check_request(Request(load_onnx(tmp_path / "some.onnx"), to="executorch"))
    assert "--to onnx" in str(caught.value.fix)


def test_a_free_axis_beside_the_batch_is_refused_before_anything_is_built() -> None:
    shapes = ({0: Dim("batch"), 1: Dim("samples")},)
    request = Request(nn.ReLU().eval(), (torch.ones(2, 3),), to="executorch", dynamic_shapes=shapes)
    with pytest.raises(InputError, match="the free axis 'samples'") as caught:
        check_request(request)
    assert caught.value.cause == TARGET.fixed_sizes


def test_no_onnx_file_is_ever_written_for_a_target_that_takes_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(path: Path) -> ir.Model:
        raise AssertionError(path)

    def write(self: Target, folder: Path, order: Order) -> None:
        assert order.program is not None
        (folder / "model.pte").write_bytes(b"lowered")

    monkeypatch.setattr(type(TARGET), "write", write)
    request = Request(Running().eval(), (torch.ones(1, 16),), to="executorch")
    form = replace(real_model_of_request(request), write=never)
    write_files(request, form, tmp_path, no_progress)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.pte", "state_0.bin"]
    assert stages_of("executorch", "fp32") == ["real form", "executorch", "parity", "pack"]


def test_without_the_package_the_extra_is_named_before_anything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "hamsa_runtime.backends.executorch", raising=False)
    monkeypatch.setitem(sys.modules, "executorch.runtime", None)
    with pytest.raises(MissingError, match="executorch") as caught:
        check_request(Request(nn.ReLU().eval(), (torch.ones(2, 3),), to="executorch"))
    assert "[executorch]" in caught.value.fix


def test_scans_are_never_loops_which_have_no_kernels() -> None:
    sizes = [
        Size("linear_recurrence", 3000, (384,)),
        Size("linear_recurrence", 197, (64,), True, 64),
        Size("linear_recurrence", 16, (384,), decays=1),
    ]
    assert not [size for size in sizes if isinstance(cheapest(size, TARGET.rates), Loop)]


def test_the_program_is_of_tensors_and_there_once_it_was_written() -> None:
    class Some(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, None, Tensor]:
            return x + 1, None, torch.fft.rfft(x).abs()

    form = real_model_of_request(Request(Some().eval(), (torch.ones(2, 8),), to="onnx"))
    assert form.program is not None
    assert [spec.arg.name is not None for spec in form.program.graph_signature.output_specs] == [True, True]
