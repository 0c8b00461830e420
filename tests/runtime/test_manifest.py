"""A manifest is accepted whole or rejected with the place, what was found and what was expected."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hamsa_runtime.errors import InputError
from hamsa_runtime.manifest import MAX_BYTES, manifest_from_json, read_manifest

from .manifest_values import NOT_PORTABLE, ONE_FILE, PORTABLE
from .tiny_bundles import manifest_for

HASH = "ab" * 32


def parsed(**changes: Any) -> Any:
    return manifest_from_json(json.dumps(manifest_for(**changes)).encode())


def at(path: str, value: Any) -> bytes:
    """The good manifest with one value replaced; `path` is keys and indices joined by dots."""
    document = copy.deepcopy(manifest_for())
    *way, last = path.split(".")
    place: Any = document
    for step in way:
        place = place[int(step) if isinstance(place, list) else step]
    place[int(last) if isinstance(place, list) else last] = value
    return json.dumps(document).encode()


def test_a_good_manifest_becomes_typed_values() -> None:
    parity = {
        "reference": "torch",
        "images": 4,
        "metrics": {"max_abs": 1e-6},
        "thresholds": {},
        "passed": True,
    }
    manifest = parsed(files={"model.onnx": {"sha256": HASH, "bytes": 7}}, parity=parity)
    assert manifest.inputs[0].shape == ("batch", 8, 12, 3)
    assert manifest.preprocessing.size == (8, 12)
    assert manifest.preprocessing.std == (0.2, 0.25, 0.3)
    assert manifest.files["model.onnx"].bytes == 7
    assert manifest.plan[0].factors == (8, 12)
    assert manifest.parity.passed is True
    assert manifest.labels == ("ant", "bee", "cat", "dog")
    with pytest.raises(AttributeError):
        manifest.name = "other"


def test_native_transforms_are_known_by_their_kind() -> None:
    row = {"module": "blocks.0", "length": 96, "factors": [96], "kind": "native"}
    assert parsed(plan=[{**row, "kind": "dense"}, row]).has_native_transforms
    assert not parsed(plan=[{**row, "kind": "dense"}]).has_native_transforms


def test_a_comparison_may_have_a_note_and_older_ones_do_not() -> None:
    parity = {"reference": "torch", "images": 4, "metrics": {}, "thresholds": {}, "passed": True}
    assert parsed(parity=parity).parity.note == ""
    assert parsed(parity={**parity, "note": "wider"}).parity.note == "wider"


def test_a_transform_may_say_what_was_measured_and_older_ones_do_not() -> None:
    row = {"module": "blocks.0", "length": 96, "factors": [8, 12], "kind": "2 factors"}
    times = [{"factors": [96], "milliseconds": 2.5}, {"factors": [8, 12], "milliseconds": 1}]
    older, tuned = parsed(plan=[row, {**row, "columns": 64, "measured": times}]).plan
    assert (older.columns, older.measured) == (None, ())
    assert tuned.columns == 64
    assert [(each.factors, each.milliseconds) for each in tuned.measured] == [((96,), 2.5), ((8, 12), 1.0)]


SCAN: dict[str, Any] = {"module": "", "kind": "ssd", "length": None, "state": [4, 2], "form": "loop", "factors": [1]}


def test_scans_have_their_forms_and_older_bundles_have_none() -> None:
    times = [{"form": "tree", "factors": [8, 4], "milliseconds": 1}]
    plain, tuned = parsed(scans=[SCAN, {**SCAN, "length": 7, "decays": 4, "measured": times}]).scans
    assert (plain.length, plain.state, plain.is_complex, plain.decays, plain.measured) == (None, (4, 2), False, 0, ())
    assert (tuned.length, tuned.decays) == (7, 4)
    assert [(each.form, each.factors, each.milliseconds) for each in tuned.measured] == [("tree", (8, 4), 1.0)]
    assert parsed().scans == ()


LINEAR: dict[str, Any] = {"module": "", "inputs": 8, "outputs": 4, "rows": 5, "form": "three"}


def test_complex_layers_have_their_forms_and_older_bundles_have_none() -> None:
    times = [{"form": "stacked", "milliseconds": 1}]
    plain, tuned = parsed(linears=[LINEAR, {**LINEAR, "measured": times}]).linears
    assert (plain.inputs, plain.outputs, plain.rows, plain.form, plain.measured) == (8, 4, 5, "three", ())
    assert [(each.form, each.milliseconds) for each in tuned.measured] == [("stacked", 1.0)]
    assert parsed().linears == ()


def test_float32_islands_have_reasons_and_older_bundles_list_none() -> None:
    assert parsed().islands == {}
    assert parsed(islands={"a/b": "magnitude: why"}).islands == {"a/b": "magnitude: why"}


EXECUTION: dict[str, Any] = {
    "device": "a processor",
    "batch": 1,
    "products": {"i8": 51, "f32": 18},
    "others": {"f32": 200},
    "conversions": 0,
    "not_int8": ["blocks.0 (node_3)"],
    "milliseconds": 1.5,
    "float32_milliseconds": 3,
    "ratio": 0.5,
}


def test_a_bundle_may_say_what_ran_and_older_ones_do_not() -> None:
    assert parsed().execution is None
    execution = parsed(execution=EXECUTION).execution
    assert execution.products == {"i8": 51, "f32": 18}
    assert execution.not_int8 == ("blocks.0 (node_3)",)
    with pytest.raises(InputError, match=r"execution\.ratio"):
        parsed(execution={**EXECUTION, "ratio": "0.5"})


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("schema", 2, "one of 1"),
        ("schema", "1", "one of 1"),
        ("schema", True, "one of 1"),
        ("name", 3, "a text"),
        ("name", "a\0b", "a text"),
        ("name", "a\nb", "a text of one line, without control characters"),
        ("labels", ["a", "\x1b[31mb"], "a text of one line, without control characters"),
        ("labels", ["a\x85"], "a text of one line, without control characters"),
        ("labels", ["ü", "a\u2028b"], "a text of one line, without control characters"),
        ("name", "photo\u202egpj.exe", "a text of one line, without control characters"),
        ("outputs.0.name", "\u2066x", "a text of one line, without control characters"),
        ("versions", {"torch": "\u2069"}, "a text without control characters"),
        ("labels", ["a\x7f"], "a text of one line, without control characters"),
        ("inputs.0.name", "x\ty", "a text of one line, without control characters"),
        ("outputs.0.name", "x\r", "a text of one line, without control characters"),
        ("options", {"a": "\x1b[2J"}, "a text, a number, true, false or null"),
        ("versions", {"torch\n": "2"}, "a text of one line, without control characters"),
        ("versions", {"torch": "\x9b2J\x1b"}, "a text without control characters"),
        ("inputs.0.shape", ["batch", *[1] * 32], "a list at most 32"),
        ("name", "\ud800", "a text"),
        ("model", [], "an object with reference"),
        ("model.parameters", -1, "a whole number"),
        ("model.parameters", 1.0, "a whole number"),
        ("model.parameters", 10**30, "a whole number"),
        ("model.weights", {"file": "w", "sha256": "AB" * 32}, "64 lower-case"),
        ("inputs", [], "a list of at least 1"),
        ("inputs.0.dtype", "uint7", "one of 'bool', 'uint8'"),
        ("inputs.0.shape", ["batch", 8, 12, 0], 'a positive whole number or the name of an axis, such as "batch"'),
        ("inputs.0.shape", "batch", "a list"),
        ("inputs.0.layout", "NHCW", "one of 'NHWC', 'NCHW'"),
        ("inputs.0.layout", "NCHW", "one input, uint8 NHWC"),
        ("inputs.0.dtype", "float32", "one input, uint8 NHWC"),
        ("inputs.0.shape", ["batch", 8, 8, 3], "one input, uint8 NHWC"),
        ("outputs.1.name", "embedding", "each of them once"),
        ("preprocessing.size", [8], "a list of 2"),
        ("preprocessing.channels", 4, "one of 1, 3"),
        ("preprocessing.crop_fraction", 0.01, "of at least 0.1"),
        ("preprocessing.crop_fraction", 5e-324, "of at least 0.1"),
        ("preprocessing.mean", [0.5], "one per channel"),
        ("preprocessing.std", [0.5], "one per channel"),
        ("preprocessing.std", [0.2, 0.2, 0], "above 0"),
        ("preprocessing.resize", "bicubc", "one of 'bicubic', 'bilinear'"),
        ("labels", ["a", 1], "a text"),
        ("target", "opnvino", "one of"),
        ("precision", "fp8", "one of 'fp32', 'fp16', 'bf16'"),
        ("options", {"a": [1]}, "a text, a number, true, false or null"),
        ("plan.0.length", 0, "at least 1"),
        ("plan.0.columns", 0, "at least 1"),
        ("plan.0.measured", [{"factors": [96]}], "factors, milliseconds"),
        ("plan.0.measure", [], "only module, length, factors, kind, columns, hop, measured"),
        (
            "scans",
            [{"module": "", "kind": "ssd", "length": 0, "state": [], "form": "loop", "factors": []}],
            "at least 1",
        ),
        ("scans", [{"module": "", "kind": "ssd", "length": 1, "state": [], "form": "fold", "factors": []}], "'loop'"),
        ("linears", [{**LINEAR, "form": "four"}], "'three'"),
        ("linears", [{**LINEAR, "rows": 0}], "at least 1"),
        ("versions", {"a": 1}, "a text"),
        ("islands", {"a": 1}, "a text"),
        ("islands", ["a"], "an object"),
        ("files", {"model.onnx": {"sha256": HASH, "bytes": -1}}, "at least 0"),
        (
            "parity",
            {"reference": "t", "images": 1, "metrics": {}, "thresholds": {}, "passed": 1},
            "true or false",
        ),
    ],
)
def test_a_wrong_value_is_rejected_with_its_place(path: str, value: Any, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        manifest_from_json(at(path, value))
    assert "manifest.json" in caught.value.found
    assert path.split(".")[0] in caught.value.found
    assert expected in caught.value.expected
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", NOT_PORTABLE)
def test_a_file_name_that_is_not_the_same_on_every_system_is_rejected(name: str) -> None:
    with pytest.raises(InputError, match=r"manifest\.json: files"):
        parsed(files={name: {"sha256": HASH, "bytes": 1}})


@pytest.mark.parametrize("names", ONE_FILE)
def test_file_names_that_differ_only_in_case_are_rejected(names: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match=r"manifest\.json: files: names is \['") as caught:
        parsed(files={name: {"sha256": HASH, "bytes": 1} for name in names})
    assert caught.value.expected == "names that differ in more than upper and lower case"


def test_names_as_exporters_and_people_write_them_are_taken() -> None:
    assert [*parsed(files={name: {"sha256": HASH, "bytes": 1} for name in PORTABLE}).files] == [*PORTABLE]


def test_the_manifest_cannot_list_itself() -> None:
    with pytest.raises(InputError, match=r"the name is 'manifest\.json'") as caught:
        parsed(files={"manifest.json": {"sha256": HASH, "bytes": 1}})
    assert caught.value.expected.startswith("neither the manifest, which cannot hold its own hash")


@pytest.mark.parametrize("ports", ["inputs", "outputs"])
def test_each_input_and_output_has_a_name_of_its_own(ports: str) -> None:
    twice = manifest_for()[ports][:1] * 2
    with pytest.raises(InputError, match=f"{ports}: names is") as caught:
        parsed(preprocessing=None, **{ports: twice})
    assert caught.value.expected == "each of them once"


def test_an_image_is_the_only_input() -> None:
    images = manifest_for()["inputs"]
    with pytest.raises(InputError, match="inputs is") as caught:
        parsed(inputs=[*images, {**images[0], "name": "other"}])
    assert caught.value.expected.startswith("one input, uint8 NHWC")


def test_an_unknown_key_names_the_nearest() -> None:
    with pytest.raises(InputError, match="unknown key 'presision'") as caught:
        parsed(presision="fp32")
    assert "'precision'" in caught.value.fix
    with pytest.raises(InputError, match=r"unknown key 'preprocessing\.crop'"):
        manifest_from_json(at("preprocessing.crop", 1))


def test_a_misspelt_value_names_the_nearest() -> None:
    with pytest.raises(InputError, match="target is 'opnvino'") as caught:
        parsed(target="opnvino")
    assert caught.value.fix == "did you mean 'openvino'?"


def test_a_missing_key_is_named() -> None:
    document = manifest_for()
    del document["outputs"][0]["dtype"]
    with pytest.raises(InputError, match=r"outputs\[0\]\.dtype is missing"):
        manifest_from_json(json.dumps(document).encode())


def test_a_newer_schema_is_reported_as_such() -> None:
    with pytest.raises(InputError, match="schema is 2") as caught:
        parsed(schema=2, something_new=1)
    assert caught.value.cause == "a newer hamsa-deploy"


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_not_finite_are_rejected(literal: str) -> None:
    data = json.dumps(manifest_for(options={"scale": 12345})).replace("12345", literal)
    with pytest.raises(InputError, match=r"manifest\.json"):
        manifest_from_json(data.encode())


def test_a_number_too_large_for_a_float_is_not_finite() -> None:
    document = manifest_for()
    document["preprocessing"]["crop_fraction"] = 10**400
    with pytest.raises(InputError, match="expected: a finite number"):
        manifest_from_json(json.dumps(document).encode())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "the whole file"),
        (b'{"schema": 1, "schema": 1}', "the same name twice"),
        (b"[" * 2_000_000, "levels deep"),
        (b'{"a":' * 600_000 + b"1" + b"}" * 600_000, "levels deep"),
        (b"9" * 10_000, "not JSON|the whole file"),
        (b'"' + b"\\" * 3_000_000, "not JSON"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_bytes_that_are_no_manifest_are_rejected(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        manifest_from_json(data)


def test_brackets_inside_texts_do_not_count_as_depth() -> None:
    assert parsed(name='[[["' * 40).name == '[[["' * 40


def test_a_huge_file_is_rejected_after_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    with path.open("wb") as stream:
        stream.truncate(2**40)  # sparse: reading all of it would not fit in memory
    with pytest.raises(InputError, match=f"more than {MAX_BYTES} bytes"):
        read_manifest(path)


MIB = 2**20
# Made when they are read: 40 MiB, which take a second.
LONG: dict[str, Callable[[], bytes]] = {
    "a text without its end": lambda: b'{"a": "' + b'\\"' * (2 * MIB - 9),
    "backslashes": lambda: b'{"a": "' + b"\\" * (4 * MIB - 9),
    "quotes": lambda: b'{"a": ' + b'"' * (4 * MIB - 9),
    "brackets": lambda: b"[" * (4 * MIB - 9),
    "pairs of brackets": lambda: b"[]" * (2 * MIB - 9),
    "digits": lambda: b'{"a": ' + b"1" * (4 * MIB - 9),
    "an unknown key": lambda: b'{"' + b"a" * (4 * MIB - 9) + b'": 1}',
    "sizes": lambda: json.dumps(
        manifest_for(axes=[{"name": "a" * (2 * MIB)}], outputs=["batch"] * (MIB // 5))
    ).encode(),
    "labels and a wrong one": lambda: json.dumps(manifest_for(labels=["a"] * (4 * MIB // 5 - 200) + ["\x85"])).encode(),
    "objects in objects, and a wrong one": lambda: json.dumps(
        manifest_for(model={"config": {**{f"k{i}": {"a": 1} for i in range(200_000)}, "k": "\x85"}})
    ).encode(),
    "a long name before a list": lambda: json.dumps(
        manifest_for(model={"config": {"k" * (2 * MIB): [0] * (MIB // 2)}}), separators=(",", ":")
    ).encode(),
}


@pytest.mark.parametrize("name", LONG)
def test_the_largest_manifest_is_refused_in_time_that_grows_with_its_size_only(name: str) -> None:
    """0.4 s at most, of CPU; what grew with the square took hours."""
    data = LONG[name]()
    assert len(data) <= 4 * MIB
    start = time.process_time()
    with pytest.raises(InputError):
        manifest_from_json(data)
    assert time.process_time() - start < 5


def test_axes_are_looked_up_and_not_searched() -> None:
    axes = [{"name": f"a{i}", "min": 1, "max": None, "example": 1} for i in range(20_000)]
    inputs = [{"name": "x", "dtype": "int8", "shape": ["a19999"] * 30, "layout": None}]
    inputs += [{**inputs[0], "name": f"i{i}"} for i in range(300)]
    document = manifest_for(axes=axes, inputs=inputs, preprocessing=None)
    start = time.process_time()
    assert len(manifest_from_json(json.dumps(document).encode()).axes) == len(axes)
    assert time.process_time() - start < 5


def test_brackets_in_texts_are_not_counted() -> None:
    document = manifest_for(name='[{"\\' * 50, labels=["\\", '"[', "\\\\[", '\\"['])
    assert manifest_from_json(json.dumps(document).encode()).name.startswith("[{")
    for nested in ('"\\\\"', '"\\""'):
        data = ("[" * 33 + nested + "]" * 33).encode()
        with pytest.raises(InputError, match="nested 33 levels deep"):
            manifest_from_json(data)
