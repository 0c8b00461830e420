"""One description of every option: export's signature, the command line and recipes say the same of it."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path

import pytest
from torch import nn

from hamsa_deploy import export
from hamsa_deploy.cli import export as command
from hamsa_deploy.cli.recipe import keys_of
from hamsa_deploy.cli.request import request_from_options
from hamsa_deploy.form.options import Flag, default_of, documented, flags_of, option, taking
from hamsa_deploy.form.request import BUILDER_FLAGS, ExportOptions, Request
from hamsa_deploy.pipeline.progress import no_progress
from hamsa_runtime.bundle import Bundle
from hamsa_runtime.errors import InputError
from hamsa_runtime.tensorrt.options import BuildOptions

# Public: who calls export relies on every name, kind, type and default.
SIGNATURE = """
model: nn.Module | OnnxFile | str | Path
example_inputs: Sequence[Any] | None = None
* to: str
* output: str | Path
* precision: str = 'fp32'
* name: str = 'model'
* preprocessing: Preprocessing | None = None
* input_dtype: str = 'uint8'
* batch: int | str | None = None
* dynamic_shapes: Any = None
* input_names: Sequence[str] | None = None
* output_names: Sequence[str] | None = None
* sample_rate: int | None = None
* labels: Sequence[str] | None = None
* data: Any = None
* device: str | None = None
* timeout: float = 45
* provenance: Mapping[str, Any] | None = None
* tune: bool = False
* calibration: Any = None
* calibration_method: str = 'auto'
* passes: Sequence[str] = ('mean-split', 'equalise', 'smooth')
* max_drop: float | None = None
* only_where_it_pays: bool = False
* classes: Sequence[int] | None = None
* builder: BuildOptions | None = None
* require_plan: bool = False
* fft: str = 'real'
"""
FLAGS = flags_of(ExportOptions)


def shown(each: inspect.Parameter) -> str:
    star = "* " if each.kind == each.KEYWORD_ONLY else ""
    default = "" if each.default is each.empty else f" = {each.default!r}"
    return f"{star}{each.name}: {each.annotation}{default}"


def names_of(kind: type) -> list[str]:
    return [each.name for each in dataclasses.fields(kind)]


def test_the_signature_of_export_is_public() -> None:
    *parameters, progress = inspect.signature(export).parameters.values()
    assert "\n".join(map(shown, parameters)) == SIGNATURE.strip()
    assert (progress.name, progress.annotation, progress.default) == ("progress", "Progress", no_progress)
    assert inspect.signature(export).return_annotation == "Bundle"


def test_types_of_export_can_be_asked_for() -> None:
    hints = typing.get_type_hints(export)
    assert list(hints) == [*inspect.signature(export).parameters, "return"]
    assert (hints["builder"], hints["max_drop"], hints["return"]) == (BuildOptions | None, float | None, Bundle)
    assert nn.Module in typing.get_args(hints["model"])


def test_help_of_export_explains_every_parameter_once() -> None:
    lines = (export.__doc__ or "").splitlines()
    names = [line.strip().partition(":")[0] for line in lines if line.startswith("    ") and line[4] != " "]
    assert names[: len(inspect.signature(export).parameters)] == list(inspect.signature(export).parameters)
    tune = "    tune: measure the plans of the transforms on this machine, which takes minutes, and the forms"
    assert any(line.startswith(tune) for line in lines)
    assert max(map(len, lines)) <= 116
    assert lines[0] == "Export a model, check it against the original, and publish the bundle."


def test_type_checkers_know_the_options() -> None:
    """mypy, which checks this file, needs all of these comments: it reports those that silence nothing."""
    net = nn.Identity()
    with pytest.raises(TypeError, match=r"export\(\) got an unexpected keyword argument 'presicion'"):
        export(net, to="onnx", output="b", presicion="fp16")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"export\(\) missing a required argument: 'output'"):
        export(net, to="onnx")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"export\(\) too many positional arguments"):
        export(net, None, "onnx", output="b")  # type: ignore[call-arg]
    with pytest.raises(InputError, match=r"a batch of 4\.5"):
        export(net, to="onnx", output="b", batch=4.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", FLAGS)
def test_every_flag_is_an_option_and_a_key_of_a_recipe(name: str) -> None:
    flag, parser = FLAGS[name], command.parser()
    options = {action.dest: action for action in parser.actions()}
    assert flag.name.removeprefix("--") in keys_of(parser)
    assert parser.defaults()[flag.dest] == ([] if flag.is_list else None if flag.metavar or flag.one_each else False)
    if not flag.one_each:
        assert options[flag.dest].option_strings == [flag.name]
        assert options[flag.dest].help == flag.help


def request_of(*arguments: str) -> Request:
    options = command.parser().options_from(arguments)
    command.check_one_model(options)
    return request_from_options(options)


def test_an_empty_command_line_leaves_every_option_at_the_default_of_export() -> None:
    request = request_of()
    found_in_the_model = {"labels", "data"}  # hamsa_nano's
    for name in FLAGS.keys() - found_in_the_model:
        assert getattr(request, name) == inspect.signature(export).parameters[name].default, name
    assert request.builder is None


def test_what_the_command_line_says_reaches_the_request(tmp_path: Path) -> None:
    (tmp_path / "labels").write_text("a\nb\n")
    said = "--int8 --batch 4 --fft native --tune --max-drop 0 --without smooth --calibration-method mse --require-plan"
    request = request_of(*said.split(), "--image-dtype", "float32", "--labels", str(tmp_path / "labels"))
    assert (request.precision, request.batch, request.fft, request.tune) == ("int8", 4, "native", True)
    assert (request.max_drop, request.passes, request.calibration_method) == (0.0, ["mean-split", "equalise"], "mse")
    assert (request.require_plan, request.input_dtype, request.labels) == (True, "float32", ["a", "b"])


def test_the_flags_of_the_builder_cover_its_options() -> None:
    profile = {"min_batch", "opt_batch", "max_batch"}
    assert BUILDER_FLAGS.keys() - {"profile"} == set(names_of(BuildOptions)) - profile


@pytest.mark.parametrize("name", [name for name, flag in FLAGS.items() if "(default: " in flag.help])
def test_help_names_the_default(name: str) -> None:
    default, text = default_of(ExportOptions, name), FLAGS[name].help
    assert default is None or f"(default: {default})" in text


def test_a_request_has_the_options_of_export() -> None:
    assert [each.name for each in dataclasses.fields(Request)] == [
        each.name for each in dataclasses.fields(ExportOptions)
    ]


@dataclass(frozen=True)
class Toy:
    """Options of a toy."""

    first: int = option(1, "said last.", Flag("g", after="last", metavar="N"))
    _: KW_ONLY
    loud: bool = option(False, "whether it is heard.", Flag("g"))
    last: str = field(metadata=documented("word " * 40))


@taking(Toy)
def toy(options: Toy) -> str:
    """Say something.

    Args:
        {options}
    """
    return f"{options.first} {options.loud} {options.last}"


def test_a_function_of_a_dataclass_takes_its_fields() -> None:
    assert str(inspect.signature(toy)) == "(first: 'int' = 1, *, last: 'str', loud: 'bool' = False) -> 'str'"
    assert toy(2, last="x") == "2 False x"
    assert typing.get_type_hints(toy) == {"first": int, "last": str, "loud": bool, "return": str}
    first, second, *rest = (toy.__doc__ or "").partition("Args:\n")[2].splitlines()
    assert first == "    first: said last."
    assert second.startswith("    last: word word")
    assert rest[0].startswith("        word")
    assert rest[1] == "    loud: whether it is heard."
