"""JetPack, the system of NVIDIA's Jetsons: what comes with which release, and whether what is installed fits it.

Everything follows from the release of Jetson Linux (L4T), which stands in /etc/nv_tegra_release. Nothing is changed.

Sources, read in November 2026
- JetPack and L4T: NVIDIA's JetPack archive, developer.nvidia.com/embedded/jetpack-archive.
- TensorRT and CUDA: of 6.1 and 6.2 the release notes, as the documentation of Torch-TensorRT repeats them; of 6.0,
  6.2.3, 7.1, 7.2 and 7.2.1 what people report of their Jetsons. Those of 6.2.1, 6.2.2 and 7.0 are taken to be as in
  their neighbours.
- Python: that of Ubuntu 22.04 (JetPack 6) and 24.04 (JetPack 7).
- TensorRT 11.4 on AGX Orin and Thor with JetPack 7.2.2 and later, and nowhere else: TensorRT 11.4.1, "Migrating
  TensorRT from 10.x to 11.x on Jetson/JetPack", docs.nvidia.com/deeplearning/tensorrt. Which L4T 7.2.2 has was not to
  be found, though looked for twice; but 7.2.1 has 39.2.1, so a newer one is of 7.2.2 or later.
- Compute capabilities: the support matrices of TensorRT, on the same site.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hamsa_deploy.targets.here import numbers
from hamsa_deploy.targets.tensorrt import APT_TENSORRT, OLDEST_TENSORRT

Version = tuple[int, ...]


@dataclass(frozen=True)
class JetPack:
    """A release.

    Attributes:
        name: such as "6.2.1".
        l4t: the release of Jetson Linux in it.
        tensorrt, cuda: what comes with it.
        python: of the system, which is the one that TensorRT's Python package is for.
    """

    name: str
    l4t: Version
    tensorrt: str
    cuda: str
    python: str


JETPACKS = (
    JetPack("6.0", (36, 3, 0), "8.6", "12.2", "3.10"),
    JetPack("6.1", (36, 4, 0), "10.3", "12.6", "3.10"),
    JetPack("6.2", (36, 4, 3), "10.3", "12.6", "3.10"),
    JetPack("6.2.1", (36, 4, 4), "10.3", "12.6", "3.10"),
    JetPack("6.2.2", (36, 5, 0), "10.3", "12.6", "3.10"),
    JetPack("6.2.3", (36, 5, 2), "10.3", "12.6", "3.10"),
    JetPack("7.0", (38, 2, 0), "10.13", "13.0", "3.12"),
    JetPack("7.1", (38, 4, 0), "10.13", "13.0", "3.12"),
    JetPack("7.2", (39, 2, 0), "10.16", "13.2", "3.12"),
    JetPack("7.2.1", (39, 2, 1), "10.16", "13.2", "3.12"),
)
LATER_TENSORRT = "11.4"  # supported on what is newer than the table's last row, and by its name one of these:
OF_LATER_TENSORRT = ("AGX Orin", "Thor")
# word in the device tree's model -> compute capability
MODULES = {"Orin": "8.7", "Thor": "11.0", "Xavier": "7.2"}

APT_CUDA = "sudo apt install nvidia-jetpack"
# TensorRT's Python package belongs to the system's Python; a virtual environment sees it only if it is told to.
SYSTEM_VENV = "/usr/bin/python3 -m venv --system-site-packages .venv"


@dataclass(frozen=True)
class Jetson:
    """The Jetson that this is.

    Attributes:
        model: as the device tree calls it.
        compute_capability: of its GPU, or "" if the model is not known.
        l4t: the release of Jetson Linux; None if it is not told, as in most containers.
    """

    model: str
    compute_capability: str
    l4t: Version | None

    @property
    def jetpack(self) -> JetPack | None:
        """The newest known release that is not newer than this one's Jetson Linux, of the same line."""
        if self.l4t is None:
            return None
        known = [each for each in JETPACKS if each.l4t[0] == self.l4t[0] and each.l4t <= self.l4t]
        return known[-1] if known else None

    @property
    def tensorrts(self) -> tuple[str, ...]:
        """The versions of TensorRT that NVIDIA supports on it, the one that comes with it first."""
        if self.jetpack is None or self.l4t is None:
            return ()
        has_later = self.l4t > JETPACKS[-1].l4t and any(name in self.model for name in OF_LATER_TENSORRT)
        return (self.jetpack.tensorrt, *([LATER_TENSORRT] if has_later else []))


@dataclass(frozen=True)
class Misfit:
    """Something that does not belong to this JetPack, or is not there, and the way out."""

    found: str
    fix: str


def jetson_from(release: str, model: str) -> Jetson | None:
    """The Jetson that /etc/nv_tegra_release and /proc/device-tree/model are of; None if they are of something else."""
    model = model.strip("\0 \n")
    l4t = l4t_from(release)
    module = next((name for name in MODULES if name in model), "")
    if l4t is None and not (module and "NVIDIA" in model):
        return None
    return Jetson(model or "unknown model", MODULES.get(module, ""), l4t)


def l4t_from(release: str) -> Version | None:
    """'# R36 (release), REVISION: 4.3, GCID: ...' -> (36, 4, 3)."""
    match = re.search(r"^# R(\d+) \(release\), REVISION: (\d+)(?:\.(\d+))?", release)
    return tuple(int(part or 0) for part in match.groups()) if match else None


def jetpack_text(jetson: Jetson) -> str:
    """'6.2 (L4T 36.4.3): TensorRT 10.3, CUDA 12.6, Python 3.10'."""
    if jetson.l4t is None:
        return "unknown: no /etc/nv_tegra_release (in a container, look on the host)"
    number, jetpack = ".".join(map(str, jetson.l4t)), jetson.jetpack
    if jetpack is None:
        age = "older" if jetson.l4t < JETPACKS[0].l4t else "newer"
        return f"{age} than the releases that are known here (L4T {number})"
    later = "" if jetson.l4t == jetpack.l4t else " or an update of it"
    tensorrt = " or ".join(jetson.tensorrts)
    return f"{jetpack.name}{later} (L4T {number}): TensorRT {tensorrt}, CUDA {jetpack.cuda}, Python {jetpack.python}"


def misfits(
    jetson: Jetson, *, python: str, tensorrt: str | None, cuda: str | None, in_system: bool = False
) -> list[Misfit]:
    """What keeps TensorRT from running here.

    Args:
        jetson: this one.
        python: version of the running interpreter.
        tensorrt: version of its package `tensorrt`; None if it cannot be imported.
        cuda: version of the CUDA toolkit; None if there is none.
        in_system: whether the system's Python has the package `tensorrt`.
    """
    jetpack = jetson.jetpack
    if jetpack is None:
        return [] if jetson.l4t is None or jetson.l4t > JETPACKS[0].l4t else [_too_old("this JetPack")]
    if numbers(jetpack.tensorrt) < OLDEST_TENSORRT:
        return [_too_old(f"JetPack {jetpack.name}")]
    name = f"JetPack {jetpack.name}"
    found = []
    if numbers(python)[:2] != numbers(jetpack.python):
        found.append(Misfit(f"Python {python}; the tensorrt of {name} is for {jetpack.python}", SYSTEM_VENV))
    elif tensorrt is None:
        found.append(_unseen() if in_system else Misfit("tensorrt is missing", APT_TENSORRT))
    elif not any(numbers(tensorrt)[:2] == numbers(each) for each in jetson.tensorrts):
        found.append(_another(tensorrt, name, jetson.tensorrts))
    if cuda is None:
        found.append(Misfit("CUDA is missing (/usr/local/cuda)", APT_CUDA))
    elif numbers(cuda)[0] != numbers(jetpack.cuda)[0]:  # later versions of the same major one may be installed
        found.append(Misfit(f"CUDA {cuda}; {name} has {jetpack.cuda}", APT_CUDA))
    return found


def _too_old(what: str) -> Misfit:
    return Misfit(f"{what} has a TensorRT older than 10.3, which cannot read the bundles", "JetPack 6.1 or newer")


def _unseen() -> Misfit:
    return Misfit("the system's Python has tensorrt, this one does not see it", SYSTEM_VENV)


def _another(tensorrt: str, name: str, valid: tuple[str, ...]) -> Misfit:
    return Misfit(f"tensorrt {tensorrt}; {name} has {' or '.join(valid)}", f"pip uninstall tensorrt; {APT_TENSORRT}")
