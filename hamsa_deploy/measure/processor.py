"""The processor of this machine, as Linux describes it."""

from __future__ import annotations

import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def processor_name() -> str:
    """ "Intel(R) Xeon(R) Processor, 2 logical cores"."""
    return processor_from(cpuinfo())


def timed_on(device: str | None) -> str:
    """The processor, and a device of this machine that was asked for: "GPU.1 of AMD EPYC, 2 logical cores"."""
    return processor_name() if device is None else f"{device} of {processor_name()}"


def cpuinfo() -> str:
    """What the system says of each logical core; nothing where it has no such file."""
    return CPUINFO.read_text() if CPUINFO.is_file() else ""


def processor_from(cpuinfo: str) -> str:
    """Name and number of cores."""
    names = values("model name", cpuinfo) or [platform.processor() or platform.machine()]
    cores = len(values("processor", cpuinfo))
    return f"{names[0]}, {cores} logical cores" if cores else names[0]


def values(key: str, cpuinfo: str) -> list[str]:
    """The value that each core has for a key."""
    pairs = (line.partition(":") for line in cpuinfo.splitlines())
    return [value.strip() for name, _, value in pairs if name.strip() == key]
