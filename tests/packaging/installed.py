"""Uses both packages as they are installed for the interpreter that runs it, in an empty folder: python -I installed.py

Every command's --help, an export of the bundled model, and an Engine on an image. Not a test by itself: `make package`
runs it in a new environment, and test_installed.py in others.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

DISTRIBUTIONS = ("hamsa-runtime", "hamsa-deploy")


def commands() -> dict[str, Callable[[list[str]], int]]:
    """Every command of both distributions, by its name."""
    found = [point for name in DISTRIBUTIONS for point in importlib.metadata.distribution(name).entry_points]
    if importlib.util.find_spec("pytest") is not None:
        for point in found:
            point.load()  # the plug-in of pytest too
    return {point.name: point.load() for point in found if point.group == "console_scripts"}


def help_of(main: Callable[[list[str]], int]) -> str:
    """What it prints; it ends by itself, with 0."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            code: object = main(["--help"])
    except SystemExit as end:
        code = end.code
    assert code in (0, None), code
    return printed.getvalue()


def classified(folder: Path) -> tuple[str, str]:
    """A digit: (what it is, what the bundled model says), exported by a recipe, which is in the package."""
    from hamsa_deploy.cli.export import main
    from hamsa_deploy.samples import digits
    from hamsa_runtime import Engine

    assert main(["--recipe", "onnxruntime-cpu", "-o", str(folder), "--quiet"]) == 0
    images, labels = digits()
    with Engine(folder) as engine:
        return str(labels[0]), engine.classify(images[0], top=1)[0][0][0]


def main() -> None:
    assert not os.listdir(), f"{Path.cwd()} is not empty"
    import hamsa_deploy
    import hamsa_runtime

    for package in (hamsa_runtime, hamsa_deploy):
        assert Path(str(package.__file__)).is_relative_to(sys.prefix), package.__file__
    for name, command in sorted(commands().items()):
        assert name in help_of(command), name
    expected, found = classified(Path("bundle"))
    assert found == expected
    names = ", ".join(sorted(commands()))
    print(f"{hamsa_deploy.__version__} in {sys.prefix}: {names}; a {expected} is a {found}")  # noqa: T201  # a script


if __name__ == "__main__":
    main()
