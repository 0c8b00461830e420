"""Recipes: the same options from a file, overridden from the command line, and refused with the same words."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hamsa_deploy.cli import export as command
from hamsa_deploy.cli.export import main
from hamsa_deploy.cli.recipe import FOLDER, RecipeParser, keys_of
from hamsa_deploy.cli.request import request_from_options
from hamsa_deploy.pipeline.checks import check_request
from hamsa_runtime.errors import InputError
from hamsa_runtime.vocabulary import PRECISIONS

from ..docs.pages import DOCS, text_of
from .conftest import UserModel

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Captured = pytest.CaptureFixture[str]
Written = Callable[[str], Path]
RECIPES = sorted(FOLDER.glob("*.toml"))
NAMES = {
    "jetson-orin-nano-fp16", "jetson-orin-int8", "jetson-thor-fp16", "rtx-desktop-fp16",
    "x86-openvino-int8", "x86-openvino-bf16", "arm-openvino-fp16", "onnxruntime-cpu",
}  # fmt: skip


def options(*argv: str) -> argparse.Namespace:
    return command.parser().options_from(argv)


@pytest.fixture
def recipe(tmp_path: Path) -> Written:
    """Text -> a recipe that holds it."""

    def written(text: str) -> Path:
        path = tmp_path / "mein Gerät.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return written


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ('to = "onnx"\nprecision = "int8"', ["--to", "onnx", "--int8"]),
        ("batch = 4\nmax-drop = 0.5\ntune = true\ndry-run = false", ["--batch", "4", "--max-drop", "0.5", "--tune"]),
        ('batch = "4"', ["--batch", "4"]),
        ('calibration = "my photos"\noutput = "out/b"', ["--calibration", "my photos", "-o", "out/b"]),
        ('without = ["smooth", "equalise"]', ["--without", "smooth", "--without", "equalise"]),
        ('without = "smooth"', ["--without", "smooth"]),
        ('set = ["image_size=448", "norm=ortho"]', ["--set", "image_size=448", "--set", "norm=ortho"]),
        ('input = ["1x3", "1x4"]', ["--input", "1x3", "--input", "1x4"]),
        ('input = "1x3,1x4"', ["--input", "1x3,1x4"]),
        ('weights = "--odd.pt"', ["--weights=--odd.pt"]),
        ("# nothing but a comment", []),
    ],
)
def test_a_recipe_says_what_the_command_line_says(recipe: Written, text: str, arguments: list[str]) -> None:
    path = recipe(text)
    assert vars(options("--recipe", str(path))) == vars(options(*arguments)) | {"recipe": path}


def test_the_command_line_goes_before_the_recipe(recipe: Written) -> None:
    path = str(recipe('to = "onnx"\nprecision = "int8"\nbatch = 4\nwithout = ["smooth"]\nset = ["a=1"]'))
    made = options("--fp16", "--recipe", path, "--batch", "1", "--without", "equalise")
    assert (made.to, made.precision, made.batch) == ("onnx", "fp16", 1)
    assert (made.without, made.set) == (["equalise"], [("a", 1)])  # replaced as a whole, not added to


def test_a_default_on_the_command_line_goes_before_the_recipe_too(recipe: Written) -> None:
    path = str(recipe('to = "onnx"\nprecision = "int8"\nmax-drop = 0.5'))
    made = options("--recipe", path, "--to", "openvino", "--fp32", "--max-drop", "0")
    assert (made.to, made.precision, made.max_drop) == ("openvino", "fp32", 0.0)


def test_two_recipes_do_not_see_each_other(recipe: Written) -> None:
    parser = command.parser()
    assert parser.options_from(["--recipe", str(recipe('without = ["smooth"]'))]).without == ["smooth"]
    assert parser.options_from([]).without == []


BAD = {
    "misspelt key": ('precison = "int8"', "unknown key 'precison'", "did you mean 'precision'?"),
    "a flag's name as key": ("int8 = true", "unknown key 'int8'", 'precision = "int8"'),
    "short name": ('o = "out"', "unknown key 'o'", "output"),
    "attribute's name": ("max_drop = 1", "unknown key 'max_drop'", "did you mean 'max-drop'?"),
    "option of the call": ("json = true", "unknown key 'json'", "--json on the command line"),
    "recipe in a recipe": ('recipe = "other.toml"', "unknown key 'recipe'", "--recipe on the command line"),
    "table": ('[target]\nto = "onnx"', "unknown key 'target'", "one of"),
    "misspelt value": ('to = "opnvino"', "to: unknown target 'opnvino'", "did you mean 'openvino'?"),
    "misspelt precision": ('precision = "int4"', "precision: unknown precision 'int4'", "did you mean 'int8'?"),
    "precision as a number": ("precision = 8", "precision: unknown precision 8", "one of fp32"),
    "out of range": ("batch = 0", "batch: '0' is not a whole number of at least 1", "--help"),
    "fraction": ("batch = 1.5", "batch: '1.5' is not a whole number of at least 1", "--help"),
    "truth value": ("batch = true", "batch: True is a truth value", "one N, as text or a number"),
    "list for one number": ("batch = [1, 2]", "batch: '1,2' is not a whole number", "--help"),
    "list for one path": ('data = ["a", "b"]', "data: ['a', 'b'] is a list", "one PATH"),
    "date": ("output = 2026-01-01", "output: ", "is a date or time"),
    "number for a switch": ("tune = 1", "tune: 1 is a number", "true or false"),
    "one bad of several": ('without = ["smooth", "smoth"]', "without: unknown pass 'smoth'", "did you mean 'smooth'?"),
    "no assignment": ('set = ["image_size"]', "set: 'image_size' is not KEY=VALUE", "--help"),
    "cut": ('to = "on', "not a recipe: Unterminated string", "a TOML file"),
    "key twice": ("batch = 1\nbatch = 2", "not a recipe: Cannot overwrite a value", "a TOML file"),
    "nested without end": ("to = " + "[" * 100_000, "not a recipe: ", "TOML"),
}


@pytest.mark.parametrize(("text", "found", "way_out"), BAD.values(), ids=BAD.keys())
def test_a_bad_recipe_exits_2_and_names_file_key_and_way_out(
    recipe: Written, text: str, found: str, way_out: str, capsys: Captured
) -> None:
    path = recipe(text)
    assert main(["--recipe", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{path}: {found}" in err
    assert way_out in err


def test_a_value_is_refused_with_the_words_of_the_command_line(recipe: Written) -> None:
    for key, value in {"to": "opnvino", "batch": "0", "max-drop": "200", "set": "a", "calibration-method": "m"}.items():
        with pytest.raises(InputError) as from_recipe:
            options("--recipe", str(recipe(f'{key} = "{value}"')))
        with pytest.raises(InputError) as from_line:
            options(f"--{key}", value)
        assert from_recipe.value.found.endswith(from_line.value.found.partition(f"--{key}: ")[2])


def test_a_recipe_that_is_not_there_says_so_and_names_its_neighbour(recipe: Written, capsys: Captured) -> None:
    path = recipe("")
    assert main(["--recipe", str(path.with_name("mein Geraet.toml"))]) == 2
    err = capsys.readouterr().err
    assert "mein Geraet.toml: the recipe cannot be read (No such file or directory)" in err
    assert "did you mean 'mein Gerät.toml'?" in err
    assert main(["--recipe", str(path.parent)]) == 2
    assert "Is a directory" in capsys.readouterr().err


def test_a_file_that_is_no_recipe_is_not_its_own_neighbour(tmp_path: Path, capsys: Captured) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    assert main(["--recipe", str(tmp_path / "pipe.toml")]) == 2
    err = capsys.readouterr().err
    assert "no regular file" in err
    assert "did you mean" not in err


def test_a_recipe_that_is_not_text_says_so(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "r.toml").write_bytes(b"\x7fELF\xff\xfe")
    assert main(["--recipe", str(tmp_path / "r.toml")]) == 2
    assert "not a recipe: 'utf-8' codec can't decode" in capsys.readouterr().err


def test_every_option_but_those_of_the_call_is_a_key() -> None:
    parser = command.parser()
    names = {name for action in parser.actions() for name in action.option_strings if name.startswith("--")}
    precisions = {f"--{precision}" for precision in PRECISIONS}
    of_the_call = {"--recipe", "--help", "--version", "--json", "--quiet", "--verbose", "--log-file"}
    assert {f"--{key}" for key in keys_of(parser)} == names - precisions - of_the_call | {"--precision"}


def test_lists_of_numbers_become_text_with_commas(recipe: Written) -> None:
    parser = RecipeParser("p", "")
    parser.add_recipe()
    parser.add_argument("--profile", type=lambda text: [int(part) for part in text.split(",")], metavar="MIN,OPT,MAX")
    parser.add_argument("--capability", action="append", default=[], metavar="X.Y")

    def made(text: str) -> argparse.Namespace:
        return parser.options_from(["--recipe", str(recipe(text))])

    assert made("profile = [1, 1, 8]").profile == [1, 1, 8]
    assert made('profile = "1,1,8"').profile == [1, 1, 8]
    assert made("capability = [8.6, 12.0]").capability == ["8.6", "12.0"]


def test_a_dry_run_of_a_recipe_shows_what_results(
    workplace: Path, user_model: UserModel, recipe: Written, capsys: Captured
) -> None:
    text = f'model = "{user_model("Sharpening")}"\ninput = "2x16,2x3"\nto = "onnx"\noutput = "out/from recipe"'
    assert main(["--recipe", str(recipe(text)), "--fp16", "--dry-run", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["target"], report["precision"]) == ("onnx", "fp16")
    assert report["bundle"] == str(Path("out", "from recipe"))


def test_the_recipes_are_those_of_the_page() -> None:
    assert {path.stem for path in RECIPES} == NAMES
    page = text_of(DOCS / "recipes.md")
    assert all(f"[{name}](../export/{name}.toml)" in page for name in NAMES)


def test_a_recipe_of_the_package_is_known_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Wherever one is; and a file of that name that is there is what was meant."""
    monkeypatch.chdir(tmp_path)
    made = options("--recipe", "x86-openvino-bf16")
    assert (made.to, made.precision) == ("openvino", "bf16")
    (tmp_path / "x86-openvino-bf16").write_text('to = "onnx"')
    assert options("--recipe", "x86-openvino-bf16").to == "onnx"


@pytest.mark.parametrize(("name", "meant"), [("x86-openvino-bf32", "x86-openvino-bf16"), ("list", "")])
def test_a_name_that_none_has_is_answered_with_those_there_are(name: str, meant: str, capsys: Captured) -> None:
    assert main(["--recipe", name]) == 2
    printed = " ".join(capsys.readouterr().err.split())
    assert all(each in printed for each in NAMES)
    assert (f"did you mean '{meant}'" in printed) == bool(meant)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_explains_every_value_it_sets(path: Path) -> None:
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    assert {"to", "precision"} <= set(table)
    lines = path.read_text(encoding="utf-8").splitlines()
    for key in table:
        row = next(number for number, line in enumerate(lines) if line.startswith(f"{key} "))
        assert lines[row - 1].startswith("# "), f"{path.name}: nothing is said about {key}"


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_a_request_that_the_pipeline_takes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The processor here need not be the one that it is for.
    monkeypatch.setattr("hamsa_runtime.backends.openvino.check_cpu", lambda precision: None)
    made = options("--recipe", str(path))
    command.check_one_model(made)
    request = request_from_options(made)
    check_request(request)
    assert (request.to, request.precision) == (made.to, made.precision)
    assert path.stem.endswith(request.precision) or path.stem == "onnxruntime-cpu"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["x86-openvino-int8", "rtx-desktop-fp16"])
def test_a_full_dry_run_of_a_recipe(name: str, workplace: Path, capsys: Captured) -> None:
    path = next(path for path in RECIPES if path.stem == name)
    before = sorted(workplace.rglob("*"))
    assert main(["--recipe", str(path), "--dry-run", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    assert (report["target"], report["precision"]) == (table["to"], table["precision"])
    assert ("search" in [stage["name"] for stage in report["stages"]]) == ("max-drop" in table)
    assert sorted(workplace.rglob("*")) == before
