"""What the summary says in cases that the exports of test_export.py do not reach."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hamsa_deploy.cli.summary import RANDOM, show_plan, show_result, size_text
from hamsa_runtime.manifest import manifest_from_json

MODEL: dict[str, Any] = {"reference": "hamsa_s", "config": {}, "parameters": 27_700_000, "weights": None}
TRANSFORM = {"module": "stages.0.sass", "length": 3136, "factors": [56, 56], "kind": "two factors"}
DOCUMENT: dict[str, Any] = {
    "schema": 1,
    "name": "hamsa_s",
    "target": "openvino",
    "precision": "fp16",
    "model": MODEL,
    "inputs": [{"name": "images", "dtype": "uint8", "shape": ["batch", 8, 8, 3], "layout": "NHWC"}],
    "outputs": [{"name": "logits", "dtype": "float32", "shape": ["batch", 10]}],
    "preprocessing": None,
    "labels": None,
    "options": {},
    "versions": {},
    "calibration": None,
    "plan": [TRANSFORM, {**TRANSFORM, "module": "stages.1.sass"}],
    "files": {"model.xml": {"sha256": "ab" * 32, "bytes": 357_915}},
    "parity": {
        "reference": "HAMSA",
        "images": 12,
        "metrics": {
            "logits": {
                "max_relative_error": 1.25e-3,
                "cosine": 0.99999,
                "top1": 11 / 12,
                "top1_ties": 1,
                "top1_decided": 1.0,
            }
        },
        "thresholds": {"max_relative_error": 1e-2, "cosine": 0.9999, "top1": 1.0},
        "passed": True,
    },
}


def shown(show: Any, *arguments: Any, **changes: Any) -> str:
    stream = StringIO()
    manifest = manifest_from_json(json.dumps(DOCUMENT | changes).encode())
    show(Console(file=stream, width=160), manifest, *arguments)
    return stream.getvalue()


EXECUTION: dict[str, Any] = {
    "device": "a processor",
    "batch": 1,
    "products": {"i8": 151, "f32": 85},
    "others": {"f32": 200, "u8": 1},
    "conversions": 3,
    "not_int8": [],
    "milliseconds": 17.43,
    "float32_milliseconds": 40.12,
    "ratio": 0.434,
}


def shown_execution(**changes: Any) -> str:
    return shown(show_result, {}, Path("out"), execution={**EXECUTION, **changes})


def test_what_the_engine_runs_is_counted_and_timed() -> None:
    text = shown_execution()
    for expected in (
        "What the engine runs on a processor",
        "151 int8, 85 float32",
        "200 float32, 1 uint8; 3 conversions between types",
        "17.4 ms against 40.1 ms in float32, 0.43 of the time",
    ):
        assert expected in text
    assert "does not pay" not in text
    assert "not int8" not in text


def test_a_precision_that_does_not_pay_is_plainly_said() -> None:
    assert "1.31 times the time: fp16 does not pay here" in shown_execution(ratio=1.31, batch=4)
    assert "in float32 for a batch of 4" in shown_execution(batch=4)


def test_layers_that_lost_int8_are_named() -> None:
    assert "blocks.0 (node_3), although asked for" in shown_execution(not_int8=["blocks.0 (node_3)"])


def test_float32_has_nothing_to_compare_with() -> None:
    assert "What the engine runs" not in shown(show_result, {}, Path("out"), execution=None)


def test_random_weights_are_plainly_said() -> None:
    assert RANDOM in shown(show_result, {}, Path("out"))
    assert "RANDOM" in RANDOM


def test_transforms_are_counted_by_length() -> None:
    assert "of length 3136 = 56 x 56 (2 times)" in shown(show_result, {}, Path("out"))


def test_native_transforms_and_what_they_do_to_the_limits_are_plainly_said() -> None:
    native = {**TRANSFORM, "length": 196, "factors": [196], "kind": "native"}
    parity = {**DOCUMENT["parity"], "note": "Errors up to 1e-4 were allowed."}
    text = shown(show_result, {}, Path("out"), plan=[TRANSFORM, native, native], parity=parity)
    assert "of length 3136 = 56 x 56, 196 by the engine (2 times)" in text
    assert "Errors up to 1e-4 were allowed." in text
    assert "within the accuracy of ONNX Runtime's DFT" in text
    assert "within the accuracy of fp16" in shown(show_result, {}, Path("out"))


def test_plan_lists_every_transform() -> None:
    text = shown(show_plan, ["onnx", "parity"], Path("no-such-folder"))
    assert "stages.0.sass" in text
    assert "stages.1.sass" in text
    assert "onnx, parity" in text
    assert "replaces" not in text


@pytest.mark.parametrize("show", [show_result, show_plan])
def test_what_was_stood_in_for_is_named(show: Any) -> None:
    found = shown(show, {} if show is show_result else [], Path("out"), stand_ins=["selective_scan_cuda.fwd", "a.b"])
    assert "stood in for  selective_scan_cuda.fwd, a.b: not installed here" in found
    assert "stood in for" not in shown(show_result, {}, Path("out"))


def test_scans_are_named_with_their_forms() -> None:
    scan = {
        "module": "a.b",
        "kind": "selective_scan",
        "length": 197,
        "state": [384, 16],
        "form": "loop",
        "factors": [8],
    }
    other = {**scan, "kind": "ssd", "length": None, "form": "chunks", "factors": [32], "is_complex": True}
    text = shown(show_result, {}, Path("out"), scans=[scan, scan, other])
    assert "selective_scan of 197 steps, state 384 x 16, a loop of 8 (2 times); ssd of any number of steps" in text
    assert "complex state 384 x 16, chunks of 32" in text.replace("\n", " ")
    text = shown(show_plan, [], Path("out"), scans=[{**scan, "form": "tree", "factors": [8, 4]}])
    assert "a tree of 8 x 4" in text
    assert "scans" not in shown(show_plan, [], Path("out"))


def test_complex_layers_are_named_with_their_forms() -> None:
    layer = {"module": "a", "inputs": 320, "outputs": 64, "rows": 196, "form": "three"}
    text = shown(show_plan, [], Path("out"), linears=[layer, {**layer, "module": "b"}, {**layer, "form": "stacked"}])
    found = "320 to 64 by three products (2 times); 320 to 64 by one stacked product"
    assert found in " ".join(text.split())
    assert "complex layers" not in shown(show_plan, [], Path("out"))


def test_plan_says_that_it_would_replace_a_bundle(tmp_path: Path) -> None:
    assert "replaces what is there" in shown(show_plan, [], tmp_path)


def test_ties_are_counted_beside_the_agreement() -> None:
    assert "11 of 12, 1 ties" in shown(show_result, {}, Path("out"))


def test_layers_kept_in_float32_are_counted_by_kind_with_what_was_found() -> None:
    islands = {
        "stages.0/square": "magnitude: squares have twice the exponents",
        "stages.0/root": "magnitude: squares have twice the exponents",
        "stages.1/sum": "overflow: x reaches 7e+05 on the calibration data; 8 times that is beyond float16's 65504",
    }
    text = shown(show_result, {}, Path("out"), islands=islands)
    assert "kept in float32  magnitude: stages.0/square and 1 more: squares have twice the exponents" in text
    assert "overflow: stages.1/sum: x reaches 7e+05" in text
    assert "kept in float32" not in shown(show_result, {}, Path("out"))


def test_int8_says_what_it_was_calibrated_on_and_which_layers_it_left() -> None:
    calibration = {
        "inputs": {
            "used": 90,
            "found": 99,
            "source": "photos",
            "skipped": {"a.jpg": "not an image"},
            "sha256": "ab" * 32,
        },
        "method": "mse",
        "signal_to_noise_db": {"mse": 41.234, "entropy": 30.0},
        "passes": {"smooth": "24 activations scaled by channel"},
        "int8_layers": 49,
        "kept_layers": ["head (node_1)"],
    }
    text = shown(show_result, {}, Path("out"), calibration=calibration)
    assert "90 of 99 inputs, photos, 1 of them unreadable; mse (the best on those held out, 41.2 dB)" in text
    assert "49 layers; not, for accuracy: head (node_1)" in text
    text = shown(show_result, {}, Path("out"), calibration={**calibration, "around": "bf16", "kept_layers": []})
    assert "49 layers, all else in bfloat16" in text
    assert "24 activations scaled by channel" in text


def test_int8_where_it_pays_says_what_was_timed() -> None:
    product = {"layers": ["a (n_1)", "b (n_2)"], "int8_milliseconds": 9.512, "float_milliseconds": 9.914}
    slower = {**product, "layers": ["c (n_3)"], "float_milliseconds": 9.187}
    form = {"int8_layers": 0, "around": "fp32", "milliseconds": 12.0, "ratio": 1.0, "chosen": False}
    choice = {
        "device": "a processor",
        "batch": 8,
        "layers": [
            {"product": "MatMul [8,4] x [4,4]", "pays": True, **product},
            {"product": "MatMul [8,4] x [4,2]", "pays": False, **slower},
            {"product": "MatMul [8,4] x [4,3]", "pays": True, **slower},
        ],
        "forms": [
            {"precision": "fp32", **form},
            {"precision": "int8", **form, "int8_layers": 2, "milliseconds": 9.2, "ratio": 0.767, "chosen": True},
        ],
    }
    text = shown(show_result, {}, Path("out"), int8_choice=choice)
    assert "Where int8 pays on a processor, a batch of 8: milliseconds" in text
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "MatMul [8,4] x [4,4] 2 9.51 9.91 yes" in lines
    assert "MatMul [8,4] x [4,2] 1 9.51 9.19 no: slower" in lines
    assert "MatMul [8,4] x [4,3] 1 9.51 9.19 yes, together" in lines
    assert "fp32 0 fp32 12 1.00" in lines
    assert "int8 2 fp32 9.2 0.77 it is" in lines
    assert "Where int8 pays" not in shown(show_result, {}, Path("out"))


def test_stage_times_add_up() -> None:
    assert "3.5 s" in shown(show_result, {"load": 1.5, "onnx": 2.0}, Path("out"))


@pytest.mark.parametrize(
    ("size", "text"), [(12, "12 B"), (357_915, "357.9 kB"), (1_466_200, "1.5 MB"), (2_000_000_000, "2.0 GB")]
)
def test_sizes_are_readable(size: int, text: str) -> None:
    assert size_text(size) == text
