"""What a record says of this machine: the packages of its engine, and whether a bundle can be exported here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

# Where an engine is built and run.
HERE, ON_THE_DEVICE = "here", "on the device"


@dataclass(frozen=True)
class Package:
    """A package that can be imported.

    Attributes:
        module: its name in Python.
        purpose: what it is for, in a few words.
        install: the command that installs it.
        needed: whether no export works without it.
        for_cuda_12: the command where the GPU's driver runs CUDA 12, but not 13.
        on_jetson: the command where JetPack has the package.
        distribution: its name for pip, if that is not the module's.
    """

    module: str
    purpose: str
    install: str
    needed: bool = False
    for_cuda_12: str = ""
    on_jetson: str = ""
    distribution: str = ""

    @property
    def pip_name(self) -> str:
        """Its name for pip."""
        return self.distribution or self.module

    def command(self, *, cuda: int | None, jetson: bool) -> str:
        """The command that installs it on a certain machine."""
        if jetson and self.on_jetson:
            return self.on_jetson
        return self.for_cuda_12 if cuda == 12 and self.for_cuda_12 else self.install


@dataclass(frozen=True)
class Answer:
    """Whether a bundle can be exported here; if not, why; if so, where its engine is built and run."""

    yes: bool
    why: str = ""
    engine: str = ""


class Machine(Protocol):
    """What a record may ask."""

    def version(self, module: str) -> str | None:
        """Of a package; None if it cannot be imported."""
        ...

    def cpu_types(self, engine: str) -> tuple[str, ...] | None:
        """The number types that the CPU computes in, as an engine calls them; None if it finds no CPU."""
        ...

    def gpus(self) -> tuple[str, ...]:
        """The compute capability of each NVIDIA GPU that Python can use."""
        ...


def numbers(version: str) -> tuple[int, ...]:
    """'10.3.0.post1' -> (10, 3, 0)."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, match.group().split("."))) if match else ()
