"""`hamsa models`: what can be exported by name."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from rich.text import Text

from hamsa_deploy.cli.console import Terminal, grid, run, table
from hamsa_deploy.cli.parser import Parser
from hamsa_deploy.models.catalogue import BUILT_IN, LICENCE, OTHERS, SOURCES
from hamsa_runtime.vocabulary import HUBS

if TYPE_CHECKING:
    from hamsa_deploy.models.catalogue import BuiltIn

DESCRIPTION = (
    "Lists the models that hamsa export knows by name: how large they are, which images they take, whether trained "
    "weights come with them, and where they are from."
)


def main(argv: list[str] | None = None, prog: str = "hamsa models") -> int:
    """Run the command; returns its exit code."""
    return run(parser(prog), _models, argv, with_any_versions=True)


def parser(prog: str = "hamsa models") -> Parser:
    """Of the command's line."""
    parser = Parser(prog, DESCRIPTION)
    parser.add_common()
    return parser


def _models(options: Any, terminal: Terminal) -> int:
    if terminal.as_json:
        terminal.write_json({"models": [_document(*each) for each in BUILT_IN.items()], "others": _others()})
    else:
        _show(terminal)
    return 0


def _document(name: str, model: BuiltIn) -> dict[str, Any]:
    how = model.preprocessing
    return {
        "name": name,
        "description": model.description,
        "architecture": model.family,
        "parameters": model.parameters,
        "size": list(how.size),
        "channels": how.channels,
        "classes": model.config.get("num_classes", len(model.labels or ()) or None),
        "weights": None if model.weights is None else model.weights.name,
        "source": SOURCES[model.family],
        "licence": LICENCE,
    }


def _others() -> list[dict[str, Any]]:
    return [{"name": name, "description": text, "installed": not _missing(name)} for name, text in OTHERS.items()]


def _missing(name: str) -> str:
    """The library that models of such a name need, where it is not installed."""
    library = HUBS.get(name.partition(":")[0])
    return library if library is not None and find_spec(library) is None else ""


def _show(terminal: Terminal) -> None:
    rows = table("--model", "parameters", "images", "weights", "")
    for column in rows.columns[3:]:
        column.justify = "left"
    for name, model in BUILT_IN.items():
        height, width = model.preprocessing.size
        weights = Text("included", "green") if model.weights else Text("yours", "yellow")
        rows.add_row(name, f"{model.parameters / 1e6:.1f} M", f"{height} x {width}", weights, model.description)
    terminal.out.print(rows)
    terminal.out.print()
    others = grid()
    for name, text in OTHERS.items():
        library = _missing(name)
        missing = Text(f" (needs pip install {library})", "yellow") if library else Text()
        others.add_row(Text(name, "cyan"), Text.assemble(text, missing))
    terminal.out.print(others)
    terminal.out.print()
    sources = grid()
    for family, text in SOURCES.items():
        sources.add_row(Text(family, "cyan"), text)
    terminal.out.print(sources)
    terminal.out.print(
        f"\nImages are RGB; other sizes by --set image_size=N, other classes by --set num_classes=N. Where weights are "
        f"yours, --weights FILE takes a checkpoint; without it they are random. Licence of code and weights: {LICENCE}."
    )


if __name__ == "__main__":
    sys.exit(main())
