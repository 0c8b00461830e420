"""What a device is called: one grammar for all engines, in each engine's own words.

    device = name | "AUTO" | ("AUTO" | "HETERO") ":" name {"," name}
    name   = kind [("." | ":") which]

A kind is what the engine calls it: CPU, GPU or NPU with OpenVINO; with ONNX Runtime a provider's name without
"ExecutionProvider", such as CUDA (backends/providers.py has all of them); GPU with TensorRT. `which` is a number, or a
part that the kind is made of: GPU.1, CUDA:0. Case does not count, so that torch's cuda:0 and OpenVINO's GPU.1 are both
names.

One name is all that a model runs on, or an error. What may be split is said so: with AUTO the engine chooses one of the
devices for the whole model, with HETERO each node runs on the first that can run it. The C++ runtime's devices.cpp
does the same, in the same words.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from hamsa_runtime.errors import InputError, MissingError

CPU, AUTO, HETERO = "CPU", "AUTO", "HETERO"
GRAMMAR = "a name such as CPU, GPU.1 or cuda:0, or AUTO, or HETERO:GPU,CPU"
_NAME = re.compile(r"([A-Z][A-Z0-9_]*)(?:[.:]([A-Z0-9_]+))?")


class Name(NamedTuple):
    """One device: GPU, or GPU.1."""

    kind: str
    which: str = ""

    def __str__(self) -> str:
        return f"{self.kind}.{self.which}" if self.which else self.kind


class Device(NamedTuple):
    """One device, or several with how one of them is chosen.

    Attributes:
        choice: AUTO, HETERO, or empty for the only name there is.
        names: in order of preference; with AUTO there may be none, for all that there are.
    """

    choice: str
    names: tuple[Name, ...]

    def __str__(self) -> str:
        names = ",".join(map(str, self.names))
        return f"{self.choice}:{names}" if self.choice and names else self.choice or names


def device_from(text: str) -> Device:
    """Read a name.

    Raises:
        InputError: it is none.
    """
    upper = text.upper() if text.isascii() else ""
    choice, colon, rest = upper.partition(":")
    if choice == AUTO and not colon:
        return Device(AUTO, ())
    is_choice = choice in (AUTO, HETERO)
    names = [_NAME.fullmatch(each) for each in (rest.split(",") if is_choice else [upper])]
    found = tuple(Name(each[1], each[2] or "") for each in names if each is not None)
    if len(found) < len(names) or len(set(found)) < len(found) or {name.kind for name in found} & {AUTO, HETERO}:
        raise InputError(f"device is {text!r}", expected=GRAMMAR)
    return Device(choice if is_choice else "", found)


def only_name(text: str, engine: str) -> Name:
    """The name, for an engine that runs a model on one device.

    Raises:
        InputError: it is no name, or more than one.
    """
    device = device_from(text)
    if device.choice:
        raise InputError(
            f"device is {text!r}", expected=f"one name: {engine} neither chooses a device nor splits a model"
        )
    return device.names[0]


def check_is_cpu(text: str, engine: str) -> None:
    """Fails for all but the CPU, for an engine that runs on nothing else here.

    Raises:
        InputError: see `only_name`.
        MissingError: it is another device.
    """
    if str(only_name(text, engine)) != CPU:
        raise MissingError(f"{engine} has no device {text!r} here", expected=CPU)
