"""What applications may rely on: the public names of both packages, with their signatures, as tests/data has them.

A change of them is a change for everybody: it needs a line in CHANGELOG.md. This writes down what is there:

    python tests/test_public_api.py > tests/data/public_api.txt
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

DATA = Path(__file__).parent / "data/public_api.txt"

# Modules whose `__all__` is public; of the others, the names that the documentation tells of.
FACES = (
    "hamsa_deploy",
    "hamsa_deploy.models",
    "hamsa_deploy.scan",
    "hamsa_runtime",
    "hamsa_runtime.embed",
    "hamsa_runtime.fix",
)
DOCUMENTED = {
    "hamsa_deploy.onnx_import": ("OnnxFile", "load_onnx"),
    "hamsa_deploy.parity.metrics": ("Thresholds",),
    "hamsa_deploy.report": ("html_from_parity",),
    "hamsa_deploy.samples": ("digits", "photos", "sample_classes", "sample_images"),
    "hamsa_deploy.testing": ("assert_parity",),
    "hamsa_runtime.backends": ("Operator", "Timed"),
    "hamsa_runtime.manifest": ("Manifest", "Preprocessing", "manifest_from_json"),
    "hamsa_runtime.ray": ("Embedder", "embed_on_ray"),
    "hamsa_runtime.tensorrt.options": ("BuildOptions",),
}


def described(name: str, value: object) -> Iterator[str]:
    """A line for the name, and one for each public member of a class."""
    if not inspect.isclass(value):
        yield f"{name}{_signature(value)}"
        return
    if issubclass(value, tuple):
        yield f"{name}{_signature(value)}"
        return
    bases = [base.__name__ for base in value.__bases__ if base is not object]
    yield f"class {name}({', '.join(bases)})" if bases else f"class {name}"
    for member in sorted(set(_members(value))):
        found = inspect.getattr_static(value, member, None)
        if isinstance(found, property):
            yield f"    {member}: {_return(found.fget)}"
        elif isinstance(found, staticmethod | classmethod) or inspect.isfunction(found):
            yield f"    {member}{_signature(getattr(value, member))}"
        elif _has_fields(value):
            yield f"    {member}: {value.__annotations__.get(member, '')}"


def _members(value: type) -> Iterator[str]:
    """Its own, and those of its bases in these packages; `__init__` where it is written out or made from fields."""
    for each in value.__mro__:
        if each.__module__.startswith(("hamsa_deploy", "hamsa_runtime")):
            names = [*vars(each), *(field.name for field in _fields(each))]
            yield from (name for name in names if not name.startswith("_") or name in ("__init__", "__call__"))


def _has_fields(value: type) -> bool:
    return dataclasses.is_dataclass(value)


def _fields(value: type) -> tuple[dataclasses.Field[object], ...]:
    return dataclasses.fields(value) if dataclasses.is_dataclass(value) else ()


def _signature(value: object) -> str:
    """Without quotes, which Python 3.14 leaves away in annotations, and without addresses of functions."""
    if not callable(value):
        return ""
    text = re.sub("['\"]", "", str(inspect.signature(value)))
    return re.sub(r"<function (\S+) at \w+>", r"\1", re.sub(r"ForwardRef\((.*?)\)", r"\1", text))


def _return(getter: object) -> str:
    return str(getattr(getter, "__annotations__", {}).get("return", ""))


def listing() -> list[str]:
    """Everything public, a line each."""
    lines = []
    names = {face: tuple(importlib.import_module(face).__all__) for face in FACES} | DOCUMENTED
    for module in sorted(names):
        lines.append(f"# {module}")
        for name in sorted(names[module]):
            value = getattr(importlib.import_module(module), name)
            # A table that is public for its names, such as MODELS: its values are not this test's business.
            lines += described(name, value) if callable(value) else [name]
        lines.append("")
    return lines[:-1]


def test_public_names_and_signatures_are_those_that_are_written_down() -> None:
    expected = DATA.read_text().splitlines()
    changes = "\n".join(difflib.unified_diff(expected, listing(), "tests/data/public_api.txt", "now", lineterm="", n=1))
    assert not changes, (
        f"the public interface has changed:\n{changes}\nIf that is meant: a line in CHANGELOG.md, and "
        "python tests/test_public_api.py > tests/data/public_api.txt"
    )


if __name__ == "__main__":
    sys.stdout.write("\n".join(listing()) + "\n")
