"""What there is to know of the built-in models without building one: one line each.

Imports no PyTorch: commands look names up here before they wait for it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hamsa_deploy.models.preprocessing import DIGITS, IMAGENET
from hamsa_runtime.errors import InputError, nearest
from hamsa_runtime.file_checks import check_received
from hamsa_runtime.manifest import Model, Preprocessing
from hamsa_runtime.vocabulary import CHECKPOINTS, is_of_hub

WEIGHTS_FOLDER = Path(__file__).parent / "weights"
# Of each architecture, by its class: where it was described.
SOURCES = {
    "HAMSA": "Patro and Agneeswaran, arXiv 2604.14724; written anew here",
    "Vim": "Zhu et al., Vision Mamba, 2024; takes the authors' checkpoints",
    "VMamba": "Liu et al., VMamba, 2024; takes the authors' checkpoints",
    "VMINet": "Zhang et al., 2025; takes the authors' checkpoints",
}
LICENCE = "Apache-2.0"  # of the code, and of the weights that come with it
SAFE_ROUTE = (
    "where you trust the file, save its weights as safetensors: "
    "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')"
)
OTHER_WAYS = "--against OTHER_BUNDLE; or hamsa_deploy.check_parity(bundle, model, data) in Python, with any model"
# Other models, by the form of their names.
OTHERS = {
    "timm:NAME": "any image model of timm, with its weights, pixels and labels: timm:resnet18.a1_in1k",
    "hf:ID": "an image classifier or encoder of transformers, likewise: hf:google/vit-base-patch16-224",
    "package.module:factory": "a model of your own: what builds it, in a module that can be imported from here",
}


def _is_whole(value: object) -> bool:
    return type(value) is int and value >= 0


# What annotations of the classes stand for, whether a value is it, and how it is written.
KINDS: dict[str, tuple[str, Callable[[Any], bool], str]] = {
    "int": ("a whole number", _is_whole, "N"),
    "bool": ("True or False", lambda value: type(value) is bool, "True"),
    "Sequence[int]": (
        "whole numbers with commas between them",
        lambda value: isinstance(value, (list, tuple)) and all(map(_is_whole, value)),
        "N,N",
    ),
}


@dataclass(frozen=True)
class BuiltIn:
    """One model.

    Attributes:
        family: the class that builds it.
        description: one line for listings.
        parameters: how many it has.
        config: arguments of the class, where they are not its defaults.
        preprocessing: what its input expects.
        labels: class names in order of the logits, or None.
        weights: trained ones that come with the package, or None.
    """

    family: str
    description: str
    parameters: int
    config: Mapping[str, Any] = field(default_factory=dict)
    preprocessing: Preprocessing = IMAGENET
    labels: tuple[str, ...] | None = None
    weights: Path | None = None


def _stages(widths: str, depths: str, ffn_ratios: str) -> dict[str, Any]:
    """'64 128 320 512' and so on -> the three stage lists of HAMSA."""
    lists = {"widths": widths, "depths": depths, "ffn_ratios": ffn_ratios}
    return {name: tuple(int(n) for n in text.split()) for name, text in lists.items()}


def _vminet(base: int, mlp_ratio: int) -> dict[str, Any]:
    return {"base": base, "depths": (2, 2, 18, 2), "mlp_ratio": mlp_ratio}


_NANO = _stages("16 32 48 64", "1 1 2 1", "4 4 4 4") | {"image_size": 32, "num_classes": 10, "stem": (3, 2)}
_TEN_DIGITS = tuple("0123456789")
_VIM_NANO = {"width": 48, "depth": 4, "states": 8, "patch": 4, "image_size": 32, "num_classes": 10}

# fmt: off
BUILT_IN = {
    "hamsa_nano": BuiltIn("HAMSA", "trained on UCI digits", 216_106, _NANO, DIGITS, _TEN_DIGITS, WEIGHTS_FOLDER / "hamsa_nano.safetensors"),  # noqa: E501
    "hamsa_tiny": BuiltIn("HAMSA", "for small devices", 5_319_304, _stages("32 64 160 256", "2 2 4 2", "4 4 4 4")),
    "hamsa_s": BuiltIn("HAMSA", "HAMSA-S of the paper", 27_716_264, _stages("64 128 320 512", "2 4 6 3", "8 8 4 4")),
    "hamsa_b": BuiltIn("HAMSA", "HAMSA-B of the paper", 42_775_272, _stages("64 128 320 512", "3 5 12 4", "8 8 4 4")),
    "hamsa_l": BuiltIn("HAMSA", "HAMSA-L of the paper", 71_199_400, _stages("96 192 384 640", "2 4 18 3", "8 8 4 4")),
    "vim_nano": BuiltIn("Vim", "trained on UCI digits", 89_962, _VIM_NANO, DIGITS, _TEN_DIGITS, WEIGHTS_FOLDER / "vim_nano.safetensors"),  # noqa: E501
    "vim_tiny": BuiltIn("Vim", "Vim-Ti of the paper", 7_148_008, {"width": 192}),
    "vmamba_t": BuiltIn("VMamba", "VMamba-T of the paper", 30_249_064, {"base": 96, "depths": (2, 2, 8, 2)}),
    "vminet_ti": BuiltIn("VMINet", "VMINet-Ti of the paper", 2_036_938, _vminet(base=24, mlp_ratio=2)),
    "vminet_xs": BuiltIn("VMINet", "VMINet-XS of the paper", 7_440_370, _vminet(base=48, mlp_ratio=2)),
    "vminet_s": BuiltIn("VMINet", "VMINet-S of the paper", 13_347_442, _vminet(base=48, mlp_ratio=4)),
    "vminet_b": BuiltIn("VMINet", "VMINet-B of the paper", 28_387_138, _vminet(base=96, mlp_ratio=2)),
}
# fmt: on


def check_weights(path: Path) -> None:
    """Raise InputError for a file that cannot be one of weights, by its name and its first bytes."""
    expected = f"a checkpoint: {', '.join(CHECKPOINTS[:-1])} or {CHECKPOINTS[-1]}"
    check_received(path, "weights", expected)
    if path.suffix not in CHECKPOINTS and path.suffix != ".pt2":
        raise InputError(f"{path}: {path.suffix or 'no'} file type", expected=expected, fix=SAFE_ROUTE)


def check_name(name: str) -> None:
    """Raise InputError unless it has the form of a model's name; of those of others no more is known here."""
    if name in BUILT_IN or is_of_hub(name):
        return
    module, _, factory = name.partition(":")
    if ":" not in name:
        raise InputError(
            f"no model is called {name!r}",
            expected=f"one of {', '.join(BUILT_IN)}, timm:NAME, hf:ID or package.module:factory",
            fix=nearest(name, BUILT_IN) or _way_for(name),
        )
    if not module or not factory or "/" in module or module.endswith(".py"):
        raise not_found(name, "it is no package.module:factory", _way_for(module, factory))


def check_trusted(model: Model, trusted: str | None) -> None:
    """Raise InputError unless the code that a manifest names is built in, or is what the user trusts."""
    if trusted is not None and trusted != model.reference:
        raise InputError(
            f"--model {trusted} for a bundle that was made from {model.reference}",
            expected=model.reference,
            fix=OTHER_WAYS,
        )
    if ":" in model.reference and trusted is None:
        raise InputError(
            f"the bundle was made from {model.reference}, which is code that has to be imported",
            expected="its name from you: a bundle must not choose what runs here",
            fix=f"--model {model.reference}, in the folder that holds it, if you trust it",
        )


def options_of(family: str) -> dict[str, str]:
    """The arguments of an architecture's class, with their annotations, from its file: importing it takes PyTorch."""
    module = ast.parse(Path(__file__).with_name(f"{family.lower()}.py").read_text(encoding="utf-8"))
    [kind] = [each for each in module.body if isinstance(each, ast.ClassDef) and each.name == family]
    [build] = [each for each in kind.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"]
    arguments = (*build.args.args[1:], *build.args.kwonlyargs)
    return {each.arg: ast.unparse(each.annotation) for each in arguments if each.annotation is not None}


def check_options(name: str, config: Mapping[str, Any]) -> None:
    """Raise InputError unless a built-in model has these options, and they such values."""
    known = options_of(BUILT_IN[name].family)
    check_known(name, config, list(known))
    for key, value in config.items():
        kinds = [kind for kind in known[key].split(" | ") if kind in KINDS]
        if kinds and not any(KINDS[kind][1](value) for kind in kinds):
            raise InputError(
                f"{name}: {key}={value!r}",
                expected=", or ".join(KINDS[kind][0] for kind in kinds),
                fix=" or ".join(f"--set {key}={KINDS[kind][2]}" for kind in kinds),
            )


def check_known(name: str, config: Iterable[str], known: Sequence[str]) -> None:
    """Raise InputError for an option that a model does not have."""
    for key in config:
        if key not in known:
            raise InputError(
                f"{name} has no option {key!r}",
                expected=f"one of {', '.join(known)}" if known else "no options",
                fix=nearest(key, known),
            )


def not_found(name: str, why: object, fix: str = "") -> InputError:
    """The error for a `package.module:factory` that is not there."""
    return InputError(
        f"{name} cannot be imported: {why}",
        expected="package.module:factory, importable from here",
        cause="a misspelt name, a package that is not installed, or a folder that is not on the import path",
        fix=fix or "run from the folder that holds the package, or add it to PYTHONPATH",
    )


def _way_for(name: str, factory: str = "") -> str:
    """Of a file where a name should be."""
    path = Path(name)
    if path.suffix in CHECKPOINTS:
        return f"--weights {name}, with --model NAME of what was trained"
    if path.suffix == ".onnx":
        return f"--onnx {name}"
    if path.suffix == ".py":
        return f"{'.'.join(path.with_suffix('').parts)}:{factory or 'FACTORY'}"
    if Path(f"{name}.py").is_file():
        return f"{name}:FACTORY, a function or class in {name}.py"
    return f"timm:{name} or hf:{name}, if it is one of theirs; hamsa models lists what is built in"
