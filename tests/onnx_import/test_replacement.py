"""DFT and STFT nodes -> real products: what the new graph computes, judged by numpy.fft in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from onnx import helper

from hamsa_deploy.onnx_import import real_onnx
from hamsa_runtime.errors import InputError, UnsupportedTransformError

from ..runtime.fix.files import DOUBLE, FLOAT, INT64, dft_model, graph_model, numpy_dft, scalar

# Files in float64 run in float64: sums of some dozen products leave 2e-15. A wrong sign or index gives 1e-2 and more.
ROUNDING = 1e-13


def replaced(proto: onnx.ModelProto, **options: Any) -> onnx.ModelProto:
    """The real form of a model, which the standard's checker accepts."""
    model, _ = real_onnx(ir.from_proto(proto), **options)
    result = ir.to_proto(model)
    onnx.checker.check_model(result, full_check=True)
    kinds = {node.op_type for graph in model.graphs() for node in graph}
    assert not kinds & {"DFT", "STFT"}
    return result


def run(proto: onnx.ModelProto, **inputs: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, inputs)[0])


def signal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape)


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())


CASES: dict[str, tuple[list[int | str], dict[str, int]]] = {
    "opset 17, default axis": (["N", 12, 3, 1], {"opset": 17}),
    "opset 17, onesided, axis": (["N", 3, 12, 1], {"opset": 17, "axis": 2, "onesided": 1}),
    "opset 19, inverse, negative axis": (["N", 3, 9, 2], {"opset": 19, "axis": -2, "inverse": 1}),
    "opset 20, default axis, complex": (["N", 3, 12, 2], {}),
    "opset 20, every size but the axis dynamic": (["N", 10, "C", 2], {"axis": 1}),
    "first axis of all": ([7, "N", 1], {"axis": 0, "onesided": 1}),
    "padded to an odd length": (["N", 9, 2, 1], {"axis": -3, "length": 13}),
    "padded, onesided": (["N", 5, 1], {"axis": 1, "length": 16, "onesided": 1}),
    "cropped, complex": (["N", 20, 2], {"axis": 1, "length": 7}),
    "inverse, of a real signal": (["N", 8, 1], {"axis": 1, "inverse": 1}),
    "inverse, onesided, default length": (["N", 9, 2], {"axis": 1, "inverse": 1, "onesided": 1}),
    "inverse, onesided, odd length": (["N", 6, 3, 2], {"axis": 1, "length": 11, "inverse": 1, "onesided": 1}),
    "inverse, onesided, cropped": (["N", 9, 2], {"axis": 1, "length": 10, "inverse": 1, "onesided": 1}),
    "one point": (["N", 1, 1], {"axis": 1}),
}


@pytest.mark.parametrize(("shape", "options"), CASES.values(), ids=CASES.keys())
def test_a_replaced_dft_is_the_transform_that_the_standard_defines(
    shape: list[int | str], options: dict[str, int]
) -> None:
    found = replaced(dft_model(shape, **options))
    x = signal(*(3 if isinstance(size, str) else size for size in shape))
    default = 1 if options.get("opset", 20) < 20 else -2
    inverse, onesided = (options.get(name, 0) for name in ("inverse", "onesided"))
    expected = numpy_dft(x, options.get("axis", default), options.get("length"), inverse, onesided)
    assert relative_error(run(found, x=x), expected) < ROUNDING


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(FLOAT, 1e-6), (onnx.TensorProto.FLOAT16, 2e-3)],  # sums of 24 terms: 6e-8 and 5e-4 for one rounding
    ids=["float32", "float16"],
)
def test_narrower_types_stay_what_they_are(dtype: int, tolerance: float) -> None:
    numpy_type = helper.tensor_dtype_to_np_dtype(dtype)
    found = replaced(dft_model(["N", 24, 1], axis=1, onesided=1, dtype=dtype))
    x = signal(2, 24, 1).astype(numpy_type)
    y = run(found, x=x)
    assert y.dtype == numpy_type
    assert relative_error(y.astype(np.float64), numpy_dft(x, 1, None, 0, 1)) < tolerance


def test_equal_nodes_share_their_constants_and_names_stay_apart() -> None:
    nodes = [
        helper.make_node("DFT", ["x", "", "axis"], ["a"], name="first"),
        helper.make_node("DFT", ["a", "", "axis"], ["b"], name="second", inverse=1),
        helper.make_node("DFT", ["b", "", "axis"], ["y"], name="third", inverse=1),
    ]
    proto = graph_model(nodes, ["N", 30, 2], 3, constants=[scalar("axis", 1)])
    model, rows = real_onnx(ir.from_proto(proto))
    found = ir.to_proto(model)
    x = signal(2, 30, 2)
    assert relative_error(run(found, x=x), numpy_dft(x, 1, None, 1, 0)) < ROUNDING
    stored = [tensor.raw_data for tensor in found.graph.initializer if len(tensor.raw_data) > 1000]
    assert len(stored) == len(set(stored))
    assert {row.module for row in rows} == {"first", "second", "third"}
    assert {row.length for row in rows} == {30}
    assert {node.metadata_props.get("module") for node in model.graph} >= {"first", "second", "third"}


def test_a_dft_in_a_branch_is_replaced_there() -> None:
    def branch(inverse: int) -> onnx.GraphProto:
        node = helper.make_node("DFT", ["x", "", "axis"], ["inner"], name=f"branch_{inverse}", inverse=inverse)
        return helper.make_graph([node], "branch", [], [helper.make_tensor_value_info("inner", DOUBLE, [2, 6, 2])])

    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["y"], then_branch=branch(0), else_branch=branch(1)),
    ]
    constants = [scalar("axis", 1), helper.make_tensor("zero", DOUBLE, [], [0.0])]
    found = replaced(graph_model(nodes, [2, 6, 2], [2, 6, 2], constants=constants))
    x = np.abs(signal(2, 6, 2))
    assert relative_error(run(found, x=x), numpy_dft(x, 1, None, 0, 0)) < ROUNDING
    assert relative_error(run(found, x=-x), numpy_dft(-x, 1, None, 1, 0)) < ROUNDING


def test_a_dft_in_a_function_of_the_file_is_replaced() -> None:
    constant = helper.make_node("Constant", [], ["axis"], value_int=1)
    node = helper.make_node("DFT", ["s", "", "axis"], ["t"], name="inside")
    opsets = [helper.make_opsetid("", 20)]
    function = helper.make_function("user", "Spectrum", ["s"], ["t"], [constant, node], opsets)
    proto = graph_model([helper.make_node("Spectrum", ["x"], ["y"], domain="user")], ["N", 6, 2], 3)
    proto.functions.append(function)
    proto.opset_import.append(helper.make_opsetid("user", 1))
    x = signal(2, 6, 2)
    assert relative_error(run(replaced(proto), x=x), numpy_dft(x, 1, None, 0, 0)) < ROUNDING


STFT_CASES = {
    "window": {"onesided": 1, "window": True, "channels": 1},
    "both sides": {"onesided": 0, "window": True, "channels": 1},
    "complex, no window": {"onesided": 0, "window": False, "channels": 2},
}


@pytest.mark.parametrize("case", STFT_CASES.values(), ids=STFT_CASES.keys())
def test_a_replaced_stft_is_framing_window_and_transform(case: dict[str, int]) -> None:
    window = np.hanning(16) if case["window"] else np.ones(16)
    constants = [scalar("step", 5), scalar("length", 16), onnx.numpy_helper.from_array(window, "window")]
    inputs = ["x", "step", "window" if case["window"] else "", "length"]
    node = helper.make_node("STFT", inputs, ["y"], name="frames", onesided=case["onesided"])
    found = replaced(graph_model([node], ["N", 50, case["channels"]], 4, constants=constants, opset=17))
    x = signal(2, 50, case["channels"])
    frames = np.stack([x[:, start : start + 16] * window[:, None] for start in range(0, 35, 5)], axis=1)
    assert relative_error(run(found, x=x), numpy_dft(frames, 2, None, 0, case["onesided"])) < ROUNDING


class Spectra(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        filtered = torch.fft.irfft(torch.fft.rfft(x, dim=1) * 2, n=12, dim=1)
        spectrum = torch.fft.fft2(x, dim=(1, 2))
        return filtered + spectrum.abs() + torch.fft.ifft(spectrum * 1j, dim=-1, norm="ortho").imag


def test_what_pytorch_itself_exports_is_replaced() -> None:
    example, batch = torch.zeros(2, 12, 5), torch.export.Dim("batch")
    exported = torch.onnx.export(Spectra().eval(), (example,), dynamic_shapes=({0: batch},), dynamo=True, verbose=False)
    assert exported is not None
    assert "DFT" in {node.op_type for node in exported.model.graph}
    found = replaced(exported.model_proto)
    x = torch.from_numpy(signal(3, 12, 5))
    expected = Spectra()(x).numpy()
    # float32 rounds to 6e-8; 2e-7 was measured
    assert relative_error(run(found, x=x.float().numpy()).astype(np.float64), expected) < 2e-6


def test_a_model_without_transforms_comes_back_as_it_was() -> None:
    proto = graph_model([helper.make_node("Relu", ["x"], ["y"])], ["N", 4], ["N", 4], opset=13)
    model, rows = real_onnx(ir.from_proto(proto))
    assert rows == []
    assert model.opset_imports[""] == 13
    assert [node.op_type for node in model.graph] == ["Relu"]


def test_the_original_stays_as_it_is() -> None:
    model = ir.from_proto(dft_model(["N", 6, 1], axis=1, opset=17))
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    real_onnx(model)
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before


REFUSED = {
    "dynamic axis": (dft_model(["N", "L", 1], axis=1), "axis 1, whose length is dynamic"),
    "batch axis": (dft_model(["N", 4, 1], axis=0), "axis 0, whose length is dynamic"),
    "axis of the parts": (dft_model([2, 4, 2], axis=2), "axis 2 of 3 dimensions"),
    "axis out of range": (dft_model([2, 4, 2], axis=-4), "axis -4 of 3 dimensions"),
    "last dimension of 3": (dft_model([2, 4, 3], axis=1), "a last dimension of 1"),
    "onesided, complex": (dft_model([2, 4, 2], axis=1, onesided=1), "onesided DFT of a complex signal"),
    "inverse onesided, real": (dft_model([2, 4, 1], axis=1, onesided=1, inverse=1), "onesided DFT of a real signal"),
    "no points": (dft_model([2, 4, 1], axis=1, length=0), "length 0"),
    "inverse onesided, one bin": (dft_model([2, 1, 2], axis=1, onesided=1, inverse=1), "length 0"),
}


@pytest.mark.parametrize(("proto", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_replaced_names_the_node(proto: onnx.ModelProto, message: str) -> None:
    with pytest.raises(UnsupportedTransformError, match="'spectrum'") as caught:
        real_onnx(ir.from_proto(proto))
    assert message in str(caught.value)


def test_a_length_that_the_graph_computes_names_the_node_and_the_way_out() -> None:
    nodes = [
        helper.make_node("Size", ["x"], ["length"]),
        helper.make_node("DFT", ["x", "length", "axis"], ["y"], name="spectrum"),
    ]
    with pytest.raises(UnsupportedTransformError, match=r"spectrum.*dft_length is computed") as caught:
        real_onnx(ir.from_proto(graph_model(nodes, ["N", 4, 1], 3, constants=[scalar("axis", 1)])))
    assert "fixed sizes" in str(caught.value)


def test_a_frame_longer_than_the_signal_names_the_node() -> None:
    constants = [scalar("step", 4), helper.make_tensor("length", INT64, [], [60])]
    node = helper.make_node("STFT", ["x", "step", "", "length"], ["y"], name="frames")
    with pytest.raises(InputError, match=r"'frames'.*frames of 60"):
        real_onnx(ir.from_proto(graph_model([node], ["N", 50, 1], 4, constants=constants, opset=17)))
