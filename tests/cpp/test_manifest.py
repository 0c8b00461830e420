"""Both runtimes reject the same manifests with the same words, and accept the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hamsa_runtime.errors import InputError
from hamsa_runtime.manifest import manifest_from_json

from ..runtime import test_clips as clips
from ..runtime import test_manifest as rejections
from ..runtime.manifest_values import NOT_PARSED_IN_CPP
from ..runtime.test_clips import of_clips
from ..runtime.test_manifest import EXECUTION, HASH, at
from ..runtime.test_manifest_schema import PLACES, cases_by_place
from ..runtime.tiny_bundles import manifest_for
from .building import Probe


def cases_of(test: Any) -> list[Any]:
    """The values of a parametrized test."""
    [mark] = [each for each in test.pytestmark if each.name == "parametrize"]
    return list(mark.args[1])


def changed(**changes: Any) -> bytes:
    return json.dumps(manifest_for(**changes)).encode()


def without_a_key() -> bytes:
    document = manifest_for()
    del document["outputs"][0]["dtype"]
    return json.dumps(document).encode()


ENTRY = {"sha256": HASH, "bytes": 1}
ENGINE = {
    "missing": "",
    "module": "m",
    "version": "1",
    "system": "s",
    "gpu": None,
    "compute_capability": None,
    "seconds": 1,
    "asked": {"f32": 1},
    "achieved": {"layers": {"f32": 1}, "fused": 0, "fell_back": []},
}
PARITY = {"reference": "torch", "images": 4, "metrics": {}, "thresholds": {}, "passed": True, "note": "wider"}

WRONG = {
    **{
        f"{path}={value!r}"[:60]: at(path, value)
        for path, value, _ in cases_of(rejections.test_a_wrong_value_is_rejected_with_its_place)
    },
    **{
        f"file {name!r}": changed(files={name: ENTRY})
        for name in cases_of(rejections.test_a_file_name_that_is_not_the_same_on_every_system_is_rejected)
    },
    **{
        f"files {names}": changed(files=dict.fromkeys(names, ENTRY))
        for names in cases_of(rejections.test_file_names_that_differ_only_in_case_are_rejected)
    },
    **{
        f"clips {i}": json.dumps(of_clips(shape, channels, **changes)).encode()
        for i, (shape, channels, changes) in enumerate(cases_of(clips.test_an_input_that_holds_no_clips_is_refused))
    },
    "clips beside images": changed(audio={"input": "image", "sample_rate": 1, "channels": 1}),
    "unknown key": changed(presision="fp32"),
    "unknown inner key": at("preprocessing.crop", 1),
    "missing key": without_a_key(),
    "newer": changed(schema=2, something_new=1),
    "engine": changed(engine={**ENGINE, "asked": {"f32": 0}}),
    "achieved": changed(engine={**ENGINE, "achieved": {"layers": {}, "fused": 0}}),
    "execution": changed(execution={**EXECUTION, "ratio": "0.5"}),
    "parity engine": changed(parity={**PARITY, "engine": 3}),
    "two inputs": changed(inputs=manifest_for()["inputs"] * 2),
    "two images": changed(inputs=[{**manifest_for()["inputs"][0], "name": name} for name in "ab"]),
    "quotes": changed(target="o'nnx"),
    "umlauts": changed(target="öpenvino" * 30),
    "nested": changed(model={"reference": "m", "config": {"a": [{"b": "\0"}]}, "weights": None, "parameters": 0}),
}
NOT_JSON = {
    **{
        f"literal {name}": changed(options={"scale": 12345}).replace(b"12345", name.encode())
        for name in ("NaN", "Infinity", "-Infinity", "1e999")
    },
    **{repr(data)[:20]: data for data, _ in cases_of(rejections.test_bytes_that_are_no_manifest_are_rejected)},
    "byte order mark": b"\xef\xbb\xbf" + changed(),
    "trailing": changed() + b"{}",
    **{f"zero byte {i}": changed() + data for i, data in enumerate((b"\0", b"\n\0 anything", b"\0{}"))},
    "zero byte between": changed().replace(b", ", b",\0", 1),
    "comment": changed() + b"// comment",
    "control character": changed(name="12345").replace(b"12345", b"\x01"),
    "overlong": changed(name="12345").replace(b"12345", b"\xc0\xaf"),
    "surrogate in bytes": changed(name="12345").replace(b"12345", b"\xed\xa0\x80"),
}
GOOD = {
    "plain": changed(),
    "files": changed(files={"model.onnx": ENTRY, "a/b c/x.bin": ENTRY, "a/com0": ENTRY, ".d/[1]~$#": ENTRY}),
    "all optional": changed(engine=ENGINE, execution=EXECUTION, parity=PARITY, islands={"a/b": "magnitude: why"}),
    "native": changed(plan=[{"module": "b", "length": 96, "factors": [], "kind": "native", "columns": None}]),
    "brackets": changed(name='[[["' * 40),
    "emoji": changed(name="\U0001f9a2"),
    "no labels": changed(labels=None, options={"a": 1.5, "b": None, "c": "x", "d": True, "e": 2**60}),
    "minus zero": changed(model={**manifest_for()["model"], "parameters": 12345}).replace(b"12345", b"-0"),
    "largest": changed(model={**manifest_for()["model"], "parameters": 2**53}),
}

# Lone surrogates cannot be in a C++ text: the parser says so, Python's later check says where. Only Python has whole
# numbers of any size.
WORDED_OTHERWISE = ("name='\\ud800'", "model.parameters=1000000000000000000000000000000")


def answers(probe: Probe, data: bytes, tmp_path: Path) -> tuple[dict[str, Any], InputError | None]:
    path = tmp_path / "manifest.json"
    path.write_bytes(data)
    found = probe.ask("manifest", path)
    try:
        manifest_from_json(data)
    except InputError as error:
        return found, error
    return found, None


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_is_rejected_in_the_same_words(probe: Probe, tmp_path: Path, name: str) -> None:
    found, error = answers(probe, WRONG[name], tmp_path)
    assert error is not None
    assert (found["kind"], found["exit_code"]) == ("InputError", 2)
    if name not in WORDED_OTHERWISE:
        assert found["found"] == error.found
        assert (found["expected"], found["cause"], found["fix"]) == (error.expected, error.cause, error.fix)


@pytest.mark.parametrize("name", NOT_JSON)
def test_what_is_no_manifest_is_rejected_by_both(probe: Probe, tmp_path: Path, name: str) -> None:
    found, error = answers(probe, NOT_JSON[name], tmp_path)
    assert error is not None
    assert found["kind"] == "InputError"
    assert found["found"].startswith("manifest.json: ")


@pytest.mark.parametrize("name", GOOD)
def test_a_good_manifest_is_accepted_by_both(probe: Probe, tmp_path: Path, name: str) -> None:
    assert answers(probe, GOOD[name], tmp_path) == ({}, None)


@pytest.mark.parametrize("place", PLACES)
def test_both_read_the_same_of_what_the_schema_says(probe: Probe, tmp_path: Path, place: str) -> None:
    for case in cases_by_place()[place]:
        found, error = answers(probe, case.data, tmp_path)
        assert (found == {}) == (error is None) == case.is_right, str(case)
        if error is not None and case.kind not in NOT_PARSED_IN_CPP:
            said = (found["found"], found["expected"], found["cause"], found["fix"])
            assert said == (error.found, error.expected, error.cause, error.fix), str(case)
