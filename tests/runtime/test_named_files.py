"""Every file that a model names is found in its bytes; damage of any kind is an InputError."""

from __future__ import annotations

import random

import pytest
from onnx import ModelProto, NodeProto, TensorProto

from hamsa_runtime import named_files
from hamsa_runtime.errors import InputError
from hamsa_runtime.named_files import check_ir, locations_in_onnx

from .external_models import PLACES, adding, external


@pytest.mark.parametrize("place", PLACES)
def test_a_name_is_found_wherever_a_tensor_can_be(place: str) -> None:
    model = adding()
    PLACES[place](model, external(location="some/where", offset=4))
    assert locations_in_onnx(model.SerializeToString()) == {b"some/where"}


def test_a_model_that_holds_its_weights_names_nothing() -> None:
    assert locations_in_onnx(adding().SerializeToString()) == set()


def test_what_any_parser_could_take_for_a_location_is_one() -> None:
    """Repeated keys, a tensor that says it has no external data, no value, texts that are no UTF-8."""
    tensor = external(location="a")
    tensor.external_data.add(key="location", value="b")
    tensor.data_location = TensorProto.DEFAULT
    assert locations_in_onnx(adding(tensor).SerializeToString()) == {b"a", b"b"}
    tensor.external_data.add(key="location")
    assert locations_in_onnx(adding(tensor).SerializeToString()) == {b"a", b"b", b""}
    twice = adding(external(location="a")).SerializeToString().replace(b"\x12\x01a", b"\x12\x01\xff")
    assert locations_in_onnx(twice) == {b"\xff"}


def test_parts_of_a_message_that_is_there_twice_are_all_looked_through() -> None:
    """Protobuf merges them."""
    first, second = adding(), ModelProto()
    PLACES["an initializer"](second, external(location="late"))
    assert locations_in_onnx(first.SerializeToString() + second.SerializeToString()) == {b"late"}


def test_an_operator_that_opens_files_is_refused() -> None:
    model = adding()
    model.graph.node.append(NodeProto(op_type="EPContext", domain="com.microsoft"))
    with pytest.raises(InputError, match="EPContext, which opens a file by itself"):
        locations_in_onnx(model.SerializeToString())


def test_damage_is_found_or_changes_no_name() -> None:
    rng, good = random.Random(5), adding(external(location="weights.bin")).SerializeToString()
    outcomes = set()
    for _ in range(2000):
        data = bytearray(good[: rng.randrange(len(good)) if rng.random() < 0.3 else None])
        for _ in range(rng.randrange(3)):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            locations_in_onnx(bytes(data))
            outcomes.add("taken")
        except InputError as error:
            outcomes.add(error.found.partition(": ")[2].partition(" ")[0])
    assert {"taken", "a", "it"} <= outcomes


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "it has no graph"),
        (b"\x0a\x01", "does not hold"),
        (b"\x3a\xff\xff\xff\xff\x0f", "does not hold"),
        (b"\x3b", "wire type 3"),
        (b"\x3c", "wire type 4"),
        (b"\x02\x00", "does not hold"),
        (b"\xba\x80\x80\x80\x80\x01\x00", "a number without end"),
        (b"\xff\xff\xff\xff\xff", "a number without end"),
    ],
)
def test_what_parsers_read_in_different_ways_is_refused(data: bytes, found: str) -> None:
    with pytest.raises(InputError, match=found):
        locations_in_onnx(data)


def test_depth_and_number_of_fields_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = b""
    for number in (6, 5, 1) * 40:  # a graph in an attribute in a node
        assert len(graph) < 2**14
        size = len(graph)
        graph = (
            bytes([number << 3 | 2]) + (bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])) + graph
        )
    size = len(graph)
    with pytest.raises(InputError, match="more than 100 levels"):
        locations_in_onnx(b"\x3a" + bytes([size & 127 | 128, size >> 7]) + graph)
    monkeypatch.setattr(named_files, "MAX_FIELDS", 50)
    with pytest.raises(InputError, match="more than 50 fields"):
        locations_in_onnx(b"\x3a\x00" * 60)


def test_xml_that_openvino_would_take_for_another_format_is_refused() -> None:
    check_ir(b"<?xml version='1.0'?><net/>")
    check_ir(b"<net name='a'/>")
    for data, found in (adding().SerializeToString(), "not OpenVINO's XML"), (b"<net><__weights_path/></net>", "names"):
        with pytest.raises(InputError, match=found):
            check_ir(data)
