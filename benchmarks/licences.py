"""Name, version and licence of every package that this environment has, as each package states it itself.

    python benchmarks/licences.py [PACKAGE ...]

With names, only those and what they depend on, without optional extras.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from importlib import metadata

LONGEST = 60  # some packages put the whole text where the name belongs


def licence_of(found: metadata.Distribution) -> str:
    """The SPDX expression if there is one, else what the older fields say."""
    about = found.metadata
    classifiers = [each for each in about.get_all("Classifier") or [] if each.startswith("License ::")]
    stated = (about["License-Expression"] or about["License"] or "").strip()
    if stated and "\n" not in stated and len(stated) <= LONGEST:
        return stated
    return ", ".join(each.split(" :: ")[-1] for each in classifiers) or "not stated in the metadata"


def with_dependencies(names: Iterable[str]) -> Iterator[metadata.Distribution]:
    """The named packages and, once each, those that they need, as far as they are installed."""
    waiting, seen = list(names), set()
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # for another system or version of Python
            continue
        yield found
        needed = [each for each in found.requires or [] if "extra ==" not in each]
        waiting += [re.split(r"[^\w.-]", each, maxsplit=1)[0] for each in needed]


def main(names: list[str]) -> None:
    packages = list(with_dependencies(names) if names else metadata.distributions())
    rows = sorted({(found.metadata["Name"], found.version, licence_of(found)) for found in packages}, key=str)
    width = max(len(f"{name} {version}") for name, version, _ in rows)
    for name, version, licence in rows:
        print(f"{f'{name} {version}':{width}}  {licence}")


if __name__ == "__main__":
    main(sys.argv[1:])
