"""ONNX files of others, and the data that they say lies beside them."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from .conftest import Did, Refused

EXPORT = ("--to", "onnx", "-o", "older", "--onnx", "model.onnx")


def saved(**entries: str) -> None:
    """y = x + weight, the weight of 16 bytes in external data as described."""
    weight = TensorProto(name="weight", dims=[4], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    for key, value in ({"location": "weights.bin", "offset": "0", "length": "16"} | entries).items():
        weight.external_data.add(key=key, value=value)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in "xy"]
    node = helper.make_node("Add", ["x", "weight"], ["y"])
    graph = helper.make_graph([node], "g", values[:1], values[1:], [weight])
    Path("model.onnx").write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9).SerializeToString()
    )


@pytest.fixture
def data(workplace: Path) -> None:
    """What the good description describes."""
    (workplace / "weights.bin").write_bytes(bytes(16))


def test_row_08_garbage_a_cut_file_and_one_over_2_gib_are_clear_errors(
    refused: Refused, older: Path, data: None, did: Did
) -> None:
    saved()
    good = Path("model.onnx").read_bytes()
    onnx.checker.check_model("model.onnx")
    for content in (b"garbage" * 9, good[: len(good) // 2]):
        Path("model.onnx").write_bytes(content)
        refused("export", *EXPORT, says=("model.onnx is no valid ONNX file",))
    with Path("large.onnx").open("wb") as stream:
        stream.truncate(2**31 + 5)  # a hole: takes no room
    try:
        refused_large()
    finally:
        Path("large.onnx").unlink()
    did("garbage, half a file, and a file of 2 GiB + 5 bytes: exit 2, the last with the way to external data")


def refused_large() -> None:
    """Without a snapshot of 2 GiB."""
    from hamsa_deploy.onnx_import import load_onnx
    from hamsa_runtime.errors import InputError

    with pytest.raises(InputError, match=r"large\.onnx has 2147483653 bytes") as caught:
        load_onnx("large.onnx")
    assert "save_as_external_data=True" in caught.value.fix


@pytest.mark.parametrize("secret", ["secret.bin"])
def test_row_09_external_data_outside_the_folder_is_rejected_and_not_read(
    refused: Refused, older: Path, data: None, workplace: Path, secret: str, did: Did
) -> None:
    outside = workplace.parent / secret
    outside.write_bytes(bytes(16))
    os.utime(outside, (0, 0))
    places = (f"../{secret}", str(outside), "C:\\secret.bin", "C:secret.bin", "below/../weights.bin", "\\weights.bin")
    for location in places:
        saved(location=location)
        refused("export", *EXPORT, says=("model.onnx", "'weight'", "relative path"))
    assert outside.stat().st_atime == 0, "it was read"
    outside.unlink()
    did(f"{len(places)} paths with '..', absolute, with a drive: exit 2; the file outside was not read")


def test_row_10_external_data_through_a_link_is_rejected(
    refused: Refused, older: Path, data: None, workplace: Path, did: Did
) -> None:
    Path("symbolic.bin").symlink_to("weights.bin")
    (workplace / "real").mkdir()
    (workplace / "real" / "w.bin").write_bytes(bytes(16))
    Path("folder").symlink_to("real")
    Path("hard.bin").hardlink_to(workplace / "real" / "w.bin")
    for location, said in {
        "symbolic.bin": "symbolic link",
        "folder/w.bin": "symbolic link",
        "hard.bin": "hard links",
    }.items():
        saved(location=location)
        refused("export", *EXPORT, says=("model.onnx", "'weight'", said))
    did("a symbolic link, a linked folder, a hard link: exit 2")


def test_row_11_external_data_of_a_lying_extent_is_rejected_in_bounded_memory(
    refused: Refused, older: Path, data: None, did: Did
) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lies = ({"offset": "-1"}, {"offset": "1"}, {"offset": str(2**62)}, {"length": str(2**60)}, {"length": "9" * 4000})
    for lie in lies:
        saved(**lie)
        refused("export", *EXPORT, says=("model.onnx", "'weight'"))
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert growth < 100  # MB; the file itself has 200 bytes
    did(f"{len(lies)} extents (negative, past the end, 2**60 bytes): exit 2 with {growth:.0f} MB more memory")
