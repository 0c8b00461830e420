"""What the engines of phones and boards have in common, as their packages for Python show them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

import numpy as np

from hamsa_runtime.backends import Settings, Timed, no_cuda_graph, no_throughput
from hamsa_runtime.devices import CPU, check_is_cpu, only_name
from hamsa_runtime.errors import BuildError, InputError, MissingError


class MobileRunner:
    """A model that runs in one way, one inference after the other; see `Backend`.

    Attributes:
        name: of the backend.
        title: as its makers call it.
        package: that it comes in.
        threads: why there is no number of threads to choose; empty where there is.
        profiler: what times operators, since the package does not.
        device: that it runs on.
        precision: the type of number that it computes with.
    """

    parallel = 1
    name: ClassVar[str]
    title: ClassVar[str]
    package: ClassVar[str]
    threads: ClassVar[str] = ""
    profiler: ClassVar[str]
    device: str
    precision: str

    def __init__(self, settings: Settings) -> None:
        no_cuda_graph(self.name, settings)
        no_throughput(self.name, settings)
        if settings.threads is not None and self.threads:
            raise InputError(
                f"threads is {settings.threads}",
                expected=f"None: {self.threads}",
                fix="leave it away; on Ray, where each engine is given a number, hamsa-embed --worker K/N instead of "
                "--ray, or Embedder(..., threads=None)",
            )
        self.check_device(settings.device or CPU)
        self.device = str(only_name(settings.device or CPU, self.title))

    @classmethod
    def check_device(cls, device: str) -> None:
        """Fails for all but the CPU."""
        check_is_cpu(device, cls.title)

    @contextlib.contextmanager
    def loading(self, path: Path) -> Iterator[None]:
        """Raise BuildError, naming the file, for whatever the engine raises."""
        try:
            yield
        except Exception as error:
            raise BuildError(f"{path}: {self.title} cannot load this model\n{error}") from error

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """The same while the model runs."""
        try:
            yield
        except Exception as error:
            raise BuildError(f"{self.title} failed to run the model\n{error}") from error

    def describe(self) -> dict[str, str]:
        """What runs."""
        return {
            "backend": self.name,
            "version": version(self.package),
            "device": self.device,
            "precision": self.precision,
        }

    def times(self, inputs: dict[str, np.ndarray], runs: int) -> list[Timed]:
        """Nothing."""
        raise MissingError(
            f"{self.title}'s package for Python does not time operators",
            expected=self.profiler,
            fix="hamsa-bench, which times whole inferences",
        )
