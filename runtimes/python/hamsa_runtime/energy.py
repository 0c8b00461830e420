"""Energy, where the machine meters it: one line for each source in `SOURCES`.

    rapl      Intel and AMD packages: counters of microjoules, /sys/class/powercap
    ina3221   Jetson's monitor of the whole module: millivolts and milliamperes, /sys/class/hwmon
    nvml      NVIDIA GPUs: a counter of millijoules, through nvidia-ml-py where that is installed

The first source is taken that answers and sees all processors that take part: of a GPU's work a counter of the CPU
would show a small part only.

Energy is measured in turns, and that of a turn is everything that the source saw in it: what the machine takes when
idle is not subtracted. A counter is read before and after; it begins again after an hour or more, so turns are to be
shorter. A power sensor, which averages over some time, is read once at the end of the turn, when it has seen nothing
but what is measured, and multiplied by the turn's seconds; turns last TURN_SECONDS or more for that.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Long against the time that sensors take for a value; an INA3221 for which that is not so is refused.
TURN_SECONDS = 1.0
SYSTEM = Path("/sys")
# The rail of the whole module, by the names that Jetsons have for it: Orin, Xavier and Nano.
WHOLE_MODULE = ("VDD_IN", "VIN_SYS_5V0", "POM_5V_IN")


CPU, GPU = "CPU", "GPU"

Meter = Callable[[], Callable[[float], float]]
"""Starts to measure energy; what it returns is called at the end with the seconds since then, and returns joules."""


@dataclass(frozen=True)
class Source:
    """What meters energy: its name for people, and the meter."""

    name: str
    meter: Meter


class NotMeteredError(Exception):
    """A source is not here; the message is the reason."""


class LongRun:
    """The energy of a run of any length, measured in turns that follow one another."""

    def __init__(self, source: Source | None) -> None:
        self._meter = None if source is None else source.meter
        self.joules = None if source is None else 0.0
        self._began = time.monotonic()
        self._finish = self._meter() if self._meter else None

    def tick(self, *, at_end: bool = False) -> None:
        """To be called more often than counters begin again; adds a turn when one is over."""
        seconds = time.monotonic() - self._began
        if self._meter is None or self._finish is None or self.joules is None:
            return
        if at_end or seconds >= TURN_SECONDS:
            self.joules += self._finish(seconds)
            self._began, self._finish = time.monotonic(), self._meter()


def source_or_reason(processors: AbstractSet[str], system: Path = SYSTEM) -> tuple[Source | None, str]:
    """The first source that sees these processors, CPU or GPU, and its name; or None, and why there is none."""
    reasons = []
    able = [find for find, seen in SOURCES.items() if processors <= seen]
    for find in able:
        try:
            source = find(system)
        except NotMeteredError as reason:
            reasons.append(str(reason))
        else:
            return source, source.name
    reasons = reasons or [f"no meter is known that sees {' and '.join(sorted(processors))}"]
    return None, "left out: " + "; ".join(reasons)


def rapl(system: Path) -> Source:
    """All packages; what a package is made of (core, uncore, dram) is in it, or counted apart on servers: left out."""
    zones = sorted((system / "class/powercap").glob("intel-rapl:*"))
    packages = [zone for zone in zones if _text(zone / "name").startswith("package")]
    if not packages:
        raise NotMeteredError("no RAPL package in /sys/class/powercap")
    counters = [_rapl_counter(zone) for zone in packages]
    return Source("RAPL, " + ", ".join(_text(zone / "name") for zone in packages), _sum_of(counters))


def ina3221(system: Path) -> Source:
    """The rail of the whole module."""
    monitors = [path for path in (system / "class/hwmon").glob("hwmon*") if _text(path / "name") == "ina3221"]
    if not monitors:
        raise NotMeteredError("no INA3221 in /sys/class/hwmon")
    labels = sorted(label for monitor in monitors for label in monitor.glob("in*_label"))
    rails = [label for label in labels if _text(label) in WHOLE_MODULE]
    if not rails:
        raise NotMeteredError(f"the INA3221 has no rail called {', '.join(WHOLE_MODULE)}")
    return Source(f"INA3221, {_text(rails[0])}", _powered(_watts(rails[0])))


def _watts(label: Path) -> Callable[[], float]:
    """Reads the power of a rail: from in1_label, in1_input times curr1_input."""
    number = label.name.removeprefix("in").removesuffix("_label")
    millivolts, milliamperes = (label.with_name(f"{kind}{number}_input") for kind in ("in", "curr"))
    interval = label.with_name("update_interval")
    if interval.exists() and _number(interval) > 500 * TURN_SECONDS:
        raise NotMeteredError(f"{interval}: {_number(interval):g} ms for one value are too long beside a turn")

    def watts() -> float:
        return _number(millivolts) * _number(milliamperes) / 1e6

    watts()  # now, or there is no sense in starting
    return watts


def nvml(system: Path) -> Source:
    """The first GPU."""
    try:
        import pynvml  # of the package nvidia-ml-py
    except ImportError:
        raise NotMeteredError("nvidia-ml-py is not installed, which would ask a GPU") from None
    return nvml_source(pynvml)


def nvml_source(library: Any) -> Source:
    """From the module pynvml, or what looks like it."""
    try:
        library.nvmlInit()
        gpu = library.nvmlDeviceGetHandleByIndex(0)
        library.nvmlDeviceGetTotalEnergyConsumption(gpu)
    except library.NVMLError as error:
        raise NotMeteredError(f"NVML: {error}") from error
    return Source("NVML, GPU 0", _sum_of([_counter(lambda: library.nvmlDeviceGetTotalEnergyConsumption(gpu) / 1e3)]))


# What finds a source, and the processors whose energy it sees.
SOURCES: dict[Callable[[Path], Source], frozenset[str]] = {
    rapl: frozenset({CPU}),
    ina3221: frozenset({CPU, GPU}),
    nvml: frozenset({GPU}),
}


def _rapl_counter(zone: Path) -> Meter:
    """Microjoules, from 0 again after the largest value."""
    path, largest = zone / "energy_uj", _number(zone / "max_energy_range_uj") / 1e6
    _number(path)
    return _counter(lambda: _number(path) / 1e6, largest)


def _counter(joules: Callable[[], float], largest: float = 0.0) -> Meter:
    def start() -> Callable[[float], float]:
        before = joules()

        def finish(seconds: float) -> float:
            used = joules() - before
            return used if used >= 0 else used + largest

        return finish

    return start


def _powered(watts: Callable[[], float]) -> Meter:
    return lambda: lambda seconds: watts() * seconds


def _sum_of(meters: list[Meter]) -> Meter:
    def start() -> Callable[[float], float]:
        started = [meter() for meter in meters]
        return lambda seconds: sum(finish(seconds) for finish in started)

    return start


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _number(path: Path) -> float:
    """A sensor's value.

    Raises:
        NotMeteredError: it cannot be read, or holds no number.
    """
    try:
        return float(path.read_text())
    except PermissionError:
        raise NotMeteredError(f"{path} may only be read by root") from None
    except (OSError, ValueError) as error:
        raise NotMeteredError(f"{path} cannot be read ({error})") from error
