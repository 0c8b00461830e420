"""Files that are cut, garbage or made to mislead: an error that names them, and nothing read that they point at."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from hamsa_runtime.errors import InputError
from hamsa_runtime.fix.loading import MAX_BYTES, load_onnx

from .files import FLOAT, dft_model, graph_model, saved

WEIGHT = np.arange(4, dtype=np.float32)
DATA = "weights.bin"


def external_model(**entries: str) -> onnx.ModelProto:
    """y = x + weight, the weight in external data as described; by default a good description."""
    weight = numpy_helper.from_array(WEIGHT, "weight")
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    for key, value in ({"location": DATA, "offset": "0", "length": "16"} | entries).items():
        weight.external_data.add(key=key, value=value)
    node = helper.make_node("Add", ["x", "weight"], ["y"])
    return graph_model([node], ["N", 4], ["N", 4], constants=[weight], dtype=FLOAT)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for the model, with good external data in it and a secret beside it."""
    path = tmp_path / "model folder"
    (path / "below").mkdir(parents=True)
    for file in (path / DATA, path / "below" / DATA, tmp_path / "secret.bin"):
        file.write_bytes(WEIGHT.tobytes())
    return path


def refused(path: Path) -> str:
    """The message of the error, which names the file."""
    with pytest.raises(InputError) as caught:
        load_onnx(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_good_file_is_read_with_its_hashes(folder: Path) -> None:
    path = saved(external_model(), folder)
    file = load_onnx(path)
    weight = file.model.graph.initializers["weight"].const_value
    assert weight is not None
    np.testing.assert_array_equal(weight.numpy(), WEIGHT)
    assert dict(file.sha256) == {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("model.onnx", DATA)
    }


def test_sparse_weights_are_refused_and_not_dropped(folder: Path) -> None:
    proto = graph_model([helper.make_node("Add", ["x", "w"], ["y"])], ["N", 4], ["N", 4], dtype=FLOAT)
    values, places = numpy_helper.from_array(np.ones(1, np.float32), "w"), numpy_helper.from_array(np.array([2]), "p")
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [4]))
    assert "sparse initializers (1)" in refused(saved(proto, folder))


def test_external_data_may_lie_in_a_folder_below(folder: Path) -> None:
    assert list(load_onnx(saved(external_model(location=f"below/{DATA}"), folder)).sha256) == [
        "model.onnx",
        f"below/{DATA}",
    ]


def test_the_loaded_weights_no_longer_depend_on_the_file(folder: Path) -> None:
    file = load_onnx(saved(external_model(), folder))
    (folder / DATA).write_bytes(b"x" * 16)
    weight = file.model.graph.initializers["weight"].const_value
    assert weight is not None
    np.testing.assert_array_equal(weight.numpy(), WEIGHT)


NO_MODELS = {
    "empty": (b"", "is empty"),
    "garbage": (bytes(range(256)) * 8, "no valid ONNX file"),
    "an unknown field only": (b"\xf2\x07\x03abc", "no valid ONNX file"),
    "text": (b"ir_version: 9\n", "no valid ONNX file"),
    "Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    "web page": (b"<!DOCTYPE html><html></html>", "HTML page"),
}


@pytest.mark.parametrize(("content", "message"), NO_MODELS.values(), ids=NO_MODELS.keys())
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    assert message in refused(tmp_path / "model.onnx")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "gone.onnx")
    assert ": a folder" in refused(tmp_path)


def test_a_file_that_was_cut_anywhere_is_refused(tmp_path: Path) -> None:
    content = dft_model(["N", 8, 1], axis=1).SerializeToString()
    for size in range(1, len(content)):
        (tmp_path / "model.onnx").write_bytes(content[:size])
        assert "no valid ONNX file" in refused(tmp_path / "model.onnx"), size


def test_a_file_beyond_2_gib_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x08\x09")
    os.truncate(path, MAX_BYTES + 1)  # a hole: takes no room on the disk
    assert "save_as_external_data" in refused(path)


def test_a_weight_with_fewer_values_than_its_shape_is_refused(tmp_path: Path) -> None:
    weight = onnx.TensorProto(name="weight", data_type=FLOAT, dims=[1 << 40], raw_data=b"1234")
    proto = graph_model([helper.make_node("Add", ["x", "weight"], ["y"])], [4], [4], constants=[weight], dtype=FLOAT)
    assert "weight" in refused(saved(proto, tmp_path))


PLACES = {
    "parent": "../secret.bin",
    "parent from below": "below/../../secret.bin",
    "parent, backslash": "..\\secret.bin",
    "absolute": "/etc/hostname",
    "absolute, backslash": "\\secret.bin",
    "drive": "C:secret.bin",
    "drive, absolute": "C:/secret.bin",
    "share": "//host/share/secret.bin",
    "nowhere": "",
    "the folder itself": ".",
    "a folder": "below",
    "missing": "gone.bin",
    "zero byte": "weights.bin\0",
    "a name that is too long": "w" * 300,
    "a name that is too long, of a folder": f"{'w' * 300}/weights.bin",
    "a path that is too long": "w/" * 3000,
}


@pytest.mark.parametrize("location", PLACES.values(), ids=PLACES.keys())
def test_external_data_outside_the_folder_is_refused(folder: Path, location: str) -> None:
    assert "'weight' lies in" in refused(saved(external_model(location=location), folder))


def test_external_data_that_is_given_absolutely_inside_the_folder_is_refused(folder: Path) -> None:
    assert "relative path" in refused(saved(external_model(location=str(folder / DATA)), folder))


def test_external_data_behind_a_symbolic_link_is_refused(folder: Path) -> None:
    (folder / "link.bin").symlink_to(folder.parent / "secret.bin")
    assert "symbolic link" in refused(saved(external_model(location="link.bin"), folder))
    (folder / "inner.bin").symlink_to(folder / DATA)
    assert "symbolic link" in refused(saved(external_model(location="inner.bin"), folder))
    (folder / "out").symlink_to(folder.parent)
    assert "symbolic link" in refused(saved(external_model(location="out/secret.bin"), folder))


def test_external_data_behind_a_hard_link_is_refused(folder: Path) -> None:
    (folder / "hard.bin").hardlink_to(folder.parent / "secret.bin")
    assert "2 hard links" in refused(saved(external_model(location="hard.bin"), folder))


def test_external_data_in_a_pipe_is_refused_and_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe.bin")
    assert "no regular file" in refused(saved(external_model(location="pipe.bin"), folder))


EXTENTS = {
    "negative offset": ({"offset": "-4"}, "offset '-4'"),
    "offset past the end": ({"offset": "8"}, "bytes 8 to 24"),
    "absurd offset": ({"offset": str(2**60)}, "has offset"),
    "offset beyond any integer": ({"offset": "9" * 5000}, "has offset"),
    "offset that is no number": ({"offset": "0x10"}, "has offset"),
    "negative length": ({"length": "-16"}, "length '-16'"),
    "short length": ({"length": "8"}, "claims 8 bytes"),
    "absurd length": ({"length": str(2**50)}, "bytes"),
    "unknown key": ({"basepath": "/etc"}, "describes its external data"),
}


@pytest.mark.parametrize(("entries", "message"), EXTENTS.values(), ids=EXTENTS.keys())
def test_external_data_outside_its_file_is_refused(folder: Path, entries: dict[str, str], message: str) -> None:
    assert message in refused(saved(external_model(**entries), folder))


def test_a_key_that_is_given_twice_is_refused(folder: Path) -> None:
    proto = external_model()
    proto.graph.initializer[0].external_data.add(key="location", value="../secret.bin")
    assert "each once at most" in refused(saved(proto, folder))


def test_an_absurd_shape_is_refused(folder: Path) -> None:
    proto = external_model()
    proto.graph.initializer[0].dims[:] = [2**62] * 1000
    assert "more than weights.bin holds" in refused(saved(proto, folder))


def test_many_tensors_that_claim_the_same_bytes_are_refused(folder: Path) -> None:
    proto = external_model()
    for index in range(10):
        copy = proto.graph.initializer.add()
        copy.CopyFrom(proto.graph.initializer[0])
        copy.name = f"copy_{index}"
    assert "claim 176 bytes of weights.bin, which has 16" in refused(saved(proto, folder))


def test_external_data_in_an_attribute_or_a_branch_is_checked_too(folder: Path) -> None:
    tensor = external_model(location="../secret.bin").graph.initializer[0]
    branch = helper.make_graph(
        [helper.make_node("Identity", ["weight"], ["inner"])], "branch", [],
        [helper.make_tensor_value_info("inner", FLOAT, [4])], [tensor],
    )  # fmt: skip
    inside = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    assert "lies in '../secret.bin'" in refused(saved(graph_model([inside], [1], [4], dtype=9), folder))
    constant = helper.make_node("Constant", [], ["y"], value=tensor)
    assert "attribute of a node" in refused(saved(graph_model([constant], [1], [4], dtype=FLOAT), folder))


def test_refusing_takes_no_more_memory_than_the_file(folder: Path) -> None:
    """An absurd claim in a process that may allocate next to nothing beyond what its imports took."""
    proto = external_model(length=str(2**40))
    proto.graph.initializer[0].dims[:] = [2**38]
    path = saved(proto, folder)
    program = (
        "import resource, sys\n"
        "from hamsa_runtime.fix.loading import load_onnx\n"
        "from hamsa_runtime.errors import InputError\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, used + 2**26))\n"
        "try:\n    load_onnx(sys.argv[1])\nexcept InputError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True)
    assert "more than weights.bin holds" in done.stdout, done.stderr
