"""Files: what is exchanged, what stays byte for byte, and what is never written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from hamsa_runtime.errors import InputError, ParityError, UnsupportedTransformError
from hamsa_runtime.fix import fix_onnx, fixing, products, transforms_in
from hamsa_runtime.fix.operators import Dft
from hamsa_runtime.fix.whole_file import Whole

from .files import FLOAT, dft_model, graph_model, numpy_dft, saved, scalar
from .test_replacement import with_function


@pytest.fixture
def nodes_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are not run as a whole, which takes a process of its own: test_whole_file.py does."""
    monkeypatch.setattr(fixing, "compare", lambda *_: Whole(not_run="in this test"))


def spectral_model(opset: int = 20) -> onnx.ModelProto:
    """A branch with a DFT, one behind it, and what else a file may hold."""
    inside = helper.make_node("DFT", ["x", "", "axis"], ["inner"], name="in a branch", onesided=1)
    then = helper.make_graph([inside], "then", [], [helper.make_tensor_value_info("inner", FLOAT, ["N", 49, 2])])
    parts = helper.make_node("Concat", ["x", "x"], ["pairs"], axis=2, name="two of them")
    part = helper.make_node("Slice", ["pairs", "from", "to", "second"], ["other"], doc_string="the first 49")
    other = helper.make_graph([parts, part], "else", [], [helper.make_tensor_value_info("other", FLOAT, ["N", 49, 2])])
    nodes = [
        helper.make_node("Relu", ["x"], ["positive"], name="Relu", doc_string="kept"),
        helper.make_node("ReduceSum", ["positive"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "level"], ["loud"]),
        helper.make_node("If", ["loud"], ["z"], name="If", then_branch=then, else_branch=other),
        helper.make_node("DFT", ["z", "", "axis"], ["w"], name="outside"),
        helper.make_node("Mul", ["w", "weight"], ["y"]),
    ]
    nodes[0].metadata_props.add(key="origin", value="somewhere")
    constants = [
        scalar("axis", 1),
        numpy_helper.from_array(np.array(0.5, np.float32), "level"),
        numpy_helper.from_array(np.arange(49 * 2, dtype=np.float32).reshape(49, 2), "weight"),
        *(
            helper.make_tensor(name, onnx.TensorProto.INT64, [1], [n])
            for name, n in (("from", 0), ("to", 49), ("second", 1))
        ),
    ]
    proto = graph_model(nodes, ["N", 96, 1], ["N", 49, 2], constants=constants, dtype=FLOAT, opset=opset)
    proto.producer_name, proto.doc_string, proto.graph.doc_string = "somebody", "a model", "its graph"
    proto.metadata_props.add(key="licence", value="theirs")
    proto.graph.value_info.append(helper.make_tensor_value_info("positive", FLOAT, ["N", 96, 1]))
    proto.training_info.add().initialization.name = "start"
    return proto


def outputs(path: Path, **inputs: np.ndarray) -> list[np.ndarray]:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, inputs)


def nodes_of(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """All but those with subgraphs, whose nodes come in their place."""
    found = []
    for node in graph.node:
        inner = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
        found += [each for graph in inner for each in nodes_of(graph)] if inner else [node]
    return found


@pytest.mark.usefixtures("nodes_only")
def test_nothing_but_the_transforms_is_another(tmp_path: Path) -> None:
    path, output = saved(spectral_model(), tmp_path), tmp_path / "fixed.onnx"
    fixed = fix_onnx(path, output)
    assert [each.name for each in fixed.replaced] == ["in a branch", "outside"]
    old, new = onnx.load(path), onnx.load(output)
    onnx.checker.check_model(new, full_check=True)
    kept = [node.SerializeToString() for node in nodes_of(old.graph) if node.op_type != "DFT"]
    made = {node.name for each in fixed.replaced for node in each.nodes}
    assert [node.SerializeToString() for node in nodes_of(new.graph) if node.name not in made] == kept
    assert "DFT" not in {node.op_type for node in nodes_of(new.graph)}
    there = {tensor.name: tensor.SerializeToString() for tensor in new.graph.initializer}
    for tensor in old.graph.initializer:
        assert there.get(tensor.name) == (None if tensor.name == "axis" else tensor.SerializeToString())
    for proto in (old, new):  # all that is left
        del proto.graph.initializer[:], proto.graph.node[:]
    assert new == old


def test_it_computes_the_same_in_each_branch(tmp_path: Path) -> None:
    path, output = saved(spectral_model(), tmp_path), tmp_path / "fixed.onnx"
    fixed = fix_onnx(path, output)
    assert max(fixed.errors) < 1e-6
    assert fixed.whole is not None
    assert fixed.whole.apart is not None
    assert fixed.whole.apart < 1e-4
    assert (fixed.nodes[0], fixed.inlined) == (9, False)
    for sign in (1, -1):
        x = np.float32(sign) * np.abs(np.random.default_rng(0).standard_normal((2, 96, 1), dtype=np.float32))
        (old,), (new,) = outputs(path, x=x), outputs(output, x=x)
        assert np.abs(new - old).max() < 1e-4 * np.abs(old).max()  # ONNX Runtime's DFT of 96 points is off by 2e-5


def external_model(folder: Path) -> Path:
    """One whose weights and window lie beside it."""
    constants = [scalar("step", 160), numpy_helper.from_array(np.hanning(400).astype(np.float32), "window")]
    constants.append(numpy_helper.from_array(np.full((1, 1, 201, 2), 2, np.float32), "weight"))
    nodes = [
        helper.make_node("STFT", ["x", "step", "window"], ["z"], name="frames"),
        helper.make_node("Mul", ["z", "weight"], ["y"]),
    ]
    proto = graph_model(nodes, ["N", "L", 1], 4, constants=constants, opset=17, dtype=FLOAT)
    folder.mkdir(exist_ok=True)
    onnx.save(proto, folder / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=512)
    return folder / "model.onnx"


def test_external_data_stay_where_they_are(tmp_path: Path) -> None:
    path = external_model(tmp_path)
    weights = (tmp_path / "weights.bin").read_bytes()
    output = tmp_path / "fixed.onnx"
    fixed = fix_onnx(path, output)
    assert fixed.whole is not None
    assert not fixed.whole.not_run
    assert (tmp_path / "weights.bin").read_bytes() == weights
    old, new = (onnx.load(each, load_external_data=False) for each in (path, output))
    (weight,) = [tensor for tensor in new.graph.initializer if tensor.name == "weight"]
    assert weight in list(old.graph.initializer)
    x = np.random.default_rng(0).standard_normal((1, 1000, 1), dtype=np.float32)
    (a,), (b,) = outputs(path, x=x), outputs(output, x=x)
    assert np.abs(a - b).max() < 1e-4 * np.abs(a).max()


@pytest.mark.usefixtures("nodes_only")
def test_external_data_go_along_into_another_folder(tmp_path: Path) -> None:
    path, other = external_model(tmp_path / "from"), tmp_path / "to"
    other.mkdir()
    for _ in range(2):  # the copy of the first time is no obstacle
        fix_onnx(path, other / "model.onnx")
        assert sorted(file.name for file in other.iterdir()) == ["model.onnx", "weights.bin"]
    (tmp_path / "from" / "weights.bin").rename(tmp_path / "elsewhere")
    outputs(other / "model.onnx", x=np.zeros((1, 1000, 1), np.float32))


@pytest.mark.usefixtures("nodes_only")
def test_other_data_of_that_name_are_not_overwritten(tmp_path: Path) -> None:
    path, other = external_model(tmp_path / "from"), tmp_path / "to"
    other.mkdir()
    (other / "weights.bin").write_bytes(b"of another model")
    with pytest.raises(InputError, match=r"weights.bin is there, and is not a copy"):
        fix_onnx(path, other / "model.onnx")
    assert (other / "weights.bin").read_bytes() == b"of another model"
    assert not (other / "model.onnx").exists()


@pytest.mark.usefixtures("nodes_only")
def test_a_file_without_transforms_is_copied(tmp_path: Path) -> None:
    path = saved(graph_model([helper.make_node("Relu", ["x"], ["y"])], ["N", 4], ["N", 4], opset=11), tmp_path)
    fixed = fix_onnx(path, tmp_path / "fixed.onnx")
    assert (fixed.replaced, fixed.whole) == ((), None)
    assert (tmp_path / "fixed.onnx").read_bytes() == path.read_bytes()


@pytest.mark.usefixtures("nodes_only")
def test_the_file_itself_is_written_only_if_that_is_asked_for(tmp_path: Path) -> None:
    path = saved(dft_model(["N", 8, 1], axis=1, dtype=FLOAT), tmp_path)
    before = path.read_bytes()
    (tmp_path / "link.onnx").symlink_to(path)
    for output in (path, tmp_path / "link.onnx"):
        with pytest.raises(InputError, match="is the file that is read"):
            fix_onnx(path, output)
    assert path.read_bytes() == before
    fix_onnx(path, path, overwrite=True)
    assert transforms_in(path) == []


@pytest.mark.usefixtures("nodes_only")
def test_its_data_are_never_written(tmp_path: Path) -> None:
    path = external_model(tmp_path)
    with pytest.raises(InputError, match="is called as the weights"):
        fix_onnx(path, tmp_path / "weights.bin", overwrite=True)


@pytest.mark.parametrize("name", ["weights.bin", "Weights.BIN"])
def test_the_copy_of_its_data_is_never_overwritten(tmp_path: Path, name: str) -> None:
    path, other = external_model(tmp_path / "from"), tmp_path / "to"
    other.mkdir()
    with pytest.raises(InputError, match="is called as the weights of"):
        fix_onnx(path, other / name)
    assert list(other.iterdir()) == []


@pytest.mark.parametrize("name", ["", "missing/fixed.onnx"])
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, name: str) -> None:
    path = saved(dft_model(["N", 8, 1], axis=1, dtype=FLOAT), tmp_path)
    with pytest.raises(InputError, match=r"a folder|in no folder"):
        fix_onnx(path, tmp_path / name)


def test_what_would_be_replaced(tmp_path: Path) -> None:
    ((first, branch), (second, outside)) = transforms_in(saved(spectral_model(), tmp_path))
    assert (first, second) == ("in a branch", "outside")
    assert isinstance(branch, Dft)
    assert (branch.shape, branch.onesided, outside.length) == ((None, 96, 1), True, 49)


@pytest.mark.parametrize("damage", ["rows", "scale", "numbers"])
def test_products_that_are_wrong_are_never_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    right = products.spectrum_matrix

    def wrong(*args: Any) -> np.ndarray:
        matrix = right(*args)
        return {"rows": matrix[::-1], "scale": 1.001 * matrix, "numbers": matrix * np.nan}[damage]

    monkeypatch.setattr(products, "spectrum_matrix", wrong)
    path = saved(dft_model(["N", 8, 20, 1], axis=1, onesided=1, dtype=FLOAT), tmp_path)
    with pytest.raises(ParityError, match=r"stands in for the node 'spectrum'"):
        fix_onnx(path, tmp_path / "fixed.onnx")
    assert not (tmp_path / "fixed.onnx").exists()


def test_a_dynamic_length_is_refused_and_nothing_written(tmp_path: Path) -> None:
    path = saved(dft_model(["N", "L", 1], axis=1, dtype=FLOAT), tmp_path)
    with pytest.raises(UnsupportedTransformError, match=r"'spectrum'.*axis 1, whose length is dynamic"):
        fix_onnx(path, tmp_path / "fixed.onnx")
    assert not (tmp_path / "fixed.onnx").exists()


@pytest.mark.parametrize("dtype", [onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE])
def test_nodes_of_every_type_are_checked(tmp_path: Path, dtype: int) -> None:
    """ONNX Runtime takes no bfloat16: the reference runs those products, and it is said that no file was run."""
    path = saved(dft_model(["N", 24, 2], axis=1, dtype=dtype), tmp_path)
    fixed = fix_onnx(path, tmp_path / "fixed.onnx")
    assert fixed.whole is not None
    assert fixed.whole.not_run.startswith("ONNX Runtime does not run" if dtype == onnx.TensorProto.BFLOAT16 else "")
    assert 0 < fixed.errors[0] < 1e-2


@pytest.mark.usefixtures("nodes_only")
def test_a_node_of_too_many_numbers_is_refused_with_a_way_out(tmp_path: Path) -> None:
    path = saved(dft_model([2**20, 128, 2], axis=1, dtype=FLOAT), tmp_path)
    with pytest.raises(InputError, match=r"takes 2.7e\+08 numbers, too many"):
        fix_onnx(path, tmp_path / "fixed.onnx")
    assert not (tmp_path / "fixed.onnx").exists()


@pytest.mark.usefixtures("nodes_only")
def test_a_function_is_written_out_and_what_lies_beside_it_stays(tmp_path: Path) -> None:
    proto = with_function(attribute=True)
    proto.training_info.add().initialization.name = "start"
    values = numpy_helper.from_array(np.ones(1, np.float32), "sparse")
    indices = numpy_helper.from_array(np.array([3], dtype=np.int64), "places")
    proto.graph.sparse_initializer.append(onnx.SparseTensorProto(values=values, indices=indices, dims=[9]))
    path, output = saved(proto, tmp_path), tmp_path / "fixed.onnx"
    assert [name for name, _ in transforms_in(path)] == ["inside__2", "inside__4"]
    fixed = fix_onnx(path, output)
    assert fixed.inlined
    new = onnx.load(output)
    assert [function.name for function in new.functions] == ["Twice"]
    assert new.training_info == proto.training_info
    assert new.graph.sparse_initializer == proto.graph.sparse_initializer
    x = np.random.default_rng(0).standard_normal((2, 6, 2))
    expected = 2 * np.concatenate([numpy_dft(part, 1, None, 1, 0) for part in (x, x[:, :4])], axis=1)
    np.testing.assert_allclose(outputs(output, x=x)[0], expected, rtol=0, atol=1e-12)
