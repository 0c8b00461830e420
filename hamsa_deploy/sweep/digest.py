"""Whether a cell would be built from the same things as before: a hash of everything that it depends on.

    shared   the model's weights and source files, the data of the comparison, the versions of all tools
    cell     shared, target, precision, options, and what it is calibrated on

A model's source files are those of the packages that its modules come from, and of this one; PyTorch's are known by
their version.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hamsa_deploy.form.request import Request
from hamsa_deploy.onnx_import import OnnxFile
from hamsa_deploy.pipeline.manifest import tool_versions
from hamsa_runtime.bundle import sha256_of

OWN_PACKAGES = ("hamsa_deploy", "hamsa_runtime")
# Fields that are the same for all cells; the others are options.
SHARED = ("model", "data", "classes", "example_inputs")


def shared_digest(request: Request) -> str:
    """The hash of what all cells of a sweep share: 64 hexadecimal digits."""
    sources = {name: _sources(name) for name in sorted(_packages(request.model))}
    return _hashed([tool_versions(), sources, *(getattr(request, name) for name in SHARED)])


def cell_digest(shared: str, request: Request) -> str:
    """The hash of all that one cell depends on; `shared` is from `shared_digest`."""
    options = {field.name: getattr(request, field.name) for field in dataclasses.fields(request)}
    return _hashed([shared, {name: value for name, value in options.items() if name not in SHARED}])


def _packages(model: nn.Module | OnnxFile) -> set[str]:
    """The top-level packages whose code the result depends on."""
    modules = [] if isinstance(model, OnnxFile) else model.modules()
    found = {type(module).__module__.partition(".")[0] for module in modules}
    return (found - {"torch"}) | set(OWN_PACKAGES)


def _sources(package: str) -> list[Path]:
    """The Python files of a package that is imported, or of a module that is one file."""
    file = getattr(sys.modules.get(package), "__file__", None)
    if file is None:  # a namespace, or a class made in an interactive session
        return []
    path = Path(file)
    return sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]


def _hashed(value: Any) -> str:
    digest = hashlib.sha256()
    for part in _parts(value):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


def _parts(value: Any) -> Iterable[bytes]:
    """A value as bytes, so that two different values never give the same."""
    yield type(value).__name__.encode()
    if value is None or isinstance(value, str | int | float):
        yield json.dumps(value).encode()
    elif isinstance(value, np.generic):
        yield from _parts(value.item())
    elif isinstance(value, Path):
        yield from _parts_of_path(value)
    elif isinstance(value, np.ndarray):
        yield json.dumps([value.dtype.str, value.shape]).encode()
        yield np.ascontiguousarray(value).tobytes()
    elif isinstance(value, torch.Tensor):
        yield str(value.dtype).encode()
        yield from _parts(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
        yield json.dumps(list(value.shape)).encode()
    elif isinstance(value, nn.Module):
        # Not its state_dict, in which a module may keep anything at all (get_extra_state).
        yield from _parts({"class": repr(value), **dict(value.named_parameters()), **dict(value.named_buffers())})
    elif isinstance(value, OnnxFile):
        yield from _parts(dict(value.sha256))
    else:
        yield from _parts_of_container(value)


def _parts_of_container(value: Any) -> Iterable[bytes]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        value = [item for name, each in value.items() for item in (str(name), each)]
    if not isinstance(value, Sequence):
        raise TypeError(f"{type(value).__name__} cannot be hashed")
    yield str(len(value)).encode()
    for each in value:
        yield from _parts(each)


def _parts_of_path(path: Path) -> Iterable[bytes]:
    """Names and contents; the folder that it is in does not count."""
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    for file in files:
        yield file.relative_to(path.parent).as_posix().encode()
        yield sha256_of(file)[0].encode()
