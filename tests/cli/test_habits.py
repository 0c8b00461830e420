"""What is answered to options of other tools, to misspelt ones and to words without an option."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from hamsa_deploy.cli.export import parser as export_parser
from hamsa_runtime.cli.habits import FORMATS, HABITS
from hamsa_runtime.cli.hamsa import COMMANDS, module_of
from hamsa_runtime.errors import InputError
from hamsa_runtime.vocabulary import TARGETS

EXPORT = export_parser("hamsa export")


def answer(line: str, parser: Any = EXPORT) -> str:
    with pytest.raises(InputError) as caught:
        parser.options_from(line.split())
    return f"{caught.value.found}; {caught.value.fix}"


@pytest.mark.parametrize(
    ("line", "ours"),
    [
        ("--precision fp16", "; --fp16"),
        ("--dtype bfloat16", "; --bf16"),
        ("--precision=int8", "; --int8"),
        ("--precision int4", "--fp32, --fp16, --bf16, --int8"),
        ("--half", "; --fp16"),
        ("--fp8", "there is none: the precisions are fp32"),
        ("--imgsz 64", "--set image_size=64 for a built-in model; --image-size 64"),
        ("--opset 17", "there is none: the file has the opset"),
        ("--simplify", "none is needed"),
        ("--format engine", "--to tensorrt"),
        ("--include onnx", "--to onnx"),
        ("--int8 data=coco.yaml", "--data coco.yaml"),
        ("--batch-size 8", "--batch 8"),
        ("--output-dir there", "-o there"),
        ("--input-shape 1x3x8x8", "--input 1x3x8x8"),
        ("--dynamic", "nothing, for a dynamic batch"),
        ("--trust-remote-code", "never run"),
        ("model.pt", "--weights model.pt"),
        ("net.onnx --half", "--onnx net.onnx; --fp16"),
        ("hamsa_s", "--model hamsa_s"),
        ("net:make", "--model net:make"),
        ("model=yolo.pt format=engine half=True imgsz=640 int8=True nms=False", "; --weights yolo.pt"),
        ("model=yolo.pt format=engine half=True imgsz=640 int8=True nms=False", "--to tensorrt; --fp16; --set image_"),
        ("model=hamsa_s", "--model hamsa_s"),
        ("--to engine", "did you mean 'tensorrt'?"),
        ("--to tflight", "did you mean 'litert'?"),
        ("--to opnvino", "did you mean 'openvino'?"),
        ("--weight x", "did you mean '--weights'?"),
        ("--dry", "did you mean '--dry-run'?"),
        ("--precison fp16", "--fp32, --fp16, --bf16, --int8"),
        ("--input-size 3,224,224", "--set image_size=224 for a built-in model; --image-size 224"),
        ("--imgsz 224,320", "--image-size 224,320"),
        ("--input-shape [1,3,224,224]", "--input 1x3x224x224"),
        ("--num-classes 12", "--set num_classes=12"),
        ("--no-parity", "there is none: a bundle that was not compared"),
        ("--atol 0.1", "hamsa parity takes others"),
        ("-f onnx", "--to onnx"),
        ("-f", "nothing: a bundle that is there is replaced"),
        ("-q", "--quiet"),
        ("-m hamsa_s", "--model hamsa_s"),
        ("--bgr", "x.flip(1)"),
        ("--fp16=True", "--fp16 takes no value"),
        ("--zzz", "hamsa export --help"),
    ],
)
def test_the_answer_is_our_option(line: str, ours: str) -> None:
    assert ours in answer(line)


def test_nothing_is_guessed_that_is_not_near() -> None:
    for line in ("--half", "--precision fp16", "--imgsz 64", "--opset 17", "--fp8", "--zzz", "--qq"):
        assert "did you mean" not in answer(line)


def test_what_is_wanted_off_is_not_answered() -> None:
    assert "nms" not in answer("model=a.pt nms=False").partition(";")[2]


def test_commands_that_run_bundles_say_where_a_precision_is_chosen() -> None:
    for name in ("bench", "parity", "run"):
        parser = module_of(name).parser(f"hamsa {name}")
        assert "hamsa export --fp16" in answer("a b --half", parser)


@pytest.mark.parametrize(
    ("line", "ours"),
    [
        ("b --source a.jpg", "nothing: hamsa run BUNDLE IMAGE"),
        ("--model b --image a.jpg", "nothing: hamsa run BUNDLE IMAGE"),
        ("b a --imgsz 640", "images of any size are scaled"),
        ("b a --show", "--json"),
        ("b a --conf 0.3", "all probabilities"),
        ("b a -o c", "--save FOLDER"),
        ("b a --bgr", "image[..., ::-1]"),
    ],
)
def test_what_is_answered_where_a_bundle_is_run(line: str, ours: str) -> None:
    assert ours in answer(line, module_of("run").parser("hamsa run"))


def test_every_answer_is_an_option_of_some_command() -> None:
    """One that is renamed must be renamed there, too."""
    actions = [action for name in COMMANDS for action in module_of(name).parser(f"hamsa {name}").actions()]
    known = {option for action in actions for option in action.option_strings}
    assert {f"--{habit.ours}" for habits in HABITS.values() for habit in habits if habit.ours} <= known
    assert set(FORMATS.values()) <= {*TARGETS, "openvino-model-server"}


def test_the_table_in_the_docs_is_true() -> None:
    page = (Path(__file__).parents[2] / "docs" / "shell.md").read_text()
    rows = re.findall(r"^\| `(.+?)` \| `?(.+?)`? \|$", page, re.MULTILINE)
    assert len(rows) > 10
    assert [line for line, ours in rows if ours not in answer(line)] == []
