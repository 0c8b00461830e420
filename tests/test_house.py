"""Where things live: who imports whom, in which order, and what is said once.

The tests read the two packages with ast: an import counts wherever it stands, inside a function and under TYPE_CHECKING
too. A package is a folder. The two roots, hamsa_deploy and hamsa_runtime, are the house and no room of it: each module
in them is a room of its own, and what is imported from a root's face, its __init__.py, counts as imported from where it
is (the face names these places in _HOMES and loads them when they are asked for; the version is all that it has).
"""

from __future__ import annotations

import ast
import collections
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from hamsa_runtime.vocabulary import METHODS, PRECISIONS, TARGETS

ROOT = Path(__file__).parents[1]
ROOTS = {"hamsa_deploy": ROOT / "hamsa_deploy", "hamsa_runtime": ROOT / "runtimes/python/hamsa_runtime"}

# The rooms from the ground up, a floor to a line: a room imports from its own floor and from those below it.
FLOORS = """
hamsa_runtime.errors hamsa_runtime.vocabulary hamsa_runtime.interrupts hamsa_runtime.locks
hamsa_runtime.devices hamsa_runtime.energy
hamsa_runtime.accepted
hamsa_runtime.dft
hamsa_runtime.schema hamsa_runtime.records hamsa_runtime.json_document hamsa_runtime.manifest
hamsa_runtime.cache_files hamsa_runtime.folders hamsa_runtime.file_checks hamsa_runtime.whole_files
hamsa_runtime.outputs hamsa_runtime.port_names hamsa_runtime.batches hamsa_runtime.states hamsa_runtime.streaming
hamsa_runtime.orientation hamsa_runtime.image_files hamsa_runtime.bmp hamsa_runtime.webp
hamsa_runtime.images hamsa_runtime.wav hamsa_runtime.clips hamsa_runtime.preprocess
hamsa_runtime.signature hamsa_runtime.named_files hamsa_runtime.onnx_sizes hamsa_runtime.onnx_steps
hamsa_runtime.bundle hamsa_runtime.signing
hamsa_runtime.tensorrt
hamsa_runtime.backends
hamsa_runtime.profiling hamsa_runtime.engine
hamsa_runtime.trial hamsa_runtime.embed
hamsa_runtime.ray
hamsa_runtime.fix
hamsa_runtime.cli
hamsa_runtime.__main__
hamsa_deploy.spectral
hamsa_deploy.spectral.rules
hamsa_deploy.scan
hamsa_deploy.spectral.compiler
hamsa_deploy.graph
hamsa_deploy.samples hamsa_deploy.inputs
hamsa_deploy.models
hamsa_deploy.targets
hamsa_deploy.onnx_import
hamsa_deploy.form
hamsa_deploy.precision
hamsa_deploy.precision.passes
hamsa_deploy.precision.float16 hamsa_deploy.precision.int8
hamsa_deploy.precision.records
hamsa_deploy.measure
hamsa_deploy.parity
hamsa_deploy.parity.layers
hamsa_deploy.pipeline
hamsa_deploy.bench
hamsa_deploy.bench.peers
hamsa_deploy.report
hamsa_deploy.sweep
hamsa_deploy.services
hamsa_deploy.cli hamsa_deploy.testing
hamsa_deploy.__main__
""".strip().splitlines()

# A module that is small and that one other module needs is often a part of that one: so many may there be.
SMALL, MOST_SMALL = 60, 25

# ExecuTorch's own bindings take PyTorch's tensors; nothing imports that backend before it is asked for.
BINDINGS_OF_TORCH = {("hamsa_runtime.backends.executorch", "torch")}

# Who says several names of one kind, because that is another fact; and the reason. Records of targets and of precisions
# say what goes with what, each in a file of its own; and parity
# has the limits of each precision.
RECORDS = ("hamsa_deploy.targets.", "hamsa_deploy.precision.records.", "hamsa_deploy.parity.metrics")
SAYS_NAMES = {
    "hamsa_deploy.bench.peers.vision_transformer: onnx openvino": "what the peers' own exporters write",
    "hamsa_deploy.bench.peers.vision_transformer: fp32 bf16": "what the peer is compared in on a processor",
    "hamsa_deploy.bench.peers.vision_transformer: fp32 fp16": "what the peer is compared in on a GPU",
    "hamsa_deploy.form.request: fp32 int8": "what --help adds to a precision",
}


@cache
def sources() -> Mapping[str, Path]:
    """Every module by its dotted name."""
    found = {}
    for root, folder in ROOTS.items():
        for path in folder.rglob("*.py"):
            parts = [root, *path.relative_to(folder).with_suffix("").parts]
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(sources()[module].read_text())


def is_package(module: str) -> bool:
    return sources()[module].name == "__init__.py"


@cache
def homes(face: str) -> Mapping[str, str]:
    """What a root's face exports, and the module that has it."""
    tables = [
        node.value
        for node in tree(face).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HOMES"
    ]
    table: dict[str, str] = ast.literal_eval(tables[0])
    return {name: home if home.startswith(face) else f"{face}.{home}" for name, home in table.items()}


def imported(module: str) -> Iterator[str]:
    """Dotted names of all that a module imports, ours and others', as near to their home as can be told."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relative to itself; write the whole name, as everywhere"
            yield from (_home(str(node.module), alias.name) for alias in node.names)


def _home(module: str, name: str) -> str:
    if f"{module}.{name}" in sources():
        return f"{module}.{name}"
    return homes(module).get(name, module) if module in ROOTS else module


@cache
def imports() -> Mapping[str, set[str]]:
    """Our own modules that each of our modules imports."""
    return {module: {name for name in imported(module) if name in sources()} - {module} for module in sources()}


def room(module: str) -> str:
    """The folder of a module; a module of a root is a room by itself."""
    inside = module if is_package(module) else module.rpartition(".")[0]
    return module if inside in ROOTS else inside


def imports_between_rooms() -> Iterator[tuple[str, str]]:
    """(importer, imported), modules of different rooms; the faces stand in front of the house."""
    for module, others in imports().items():
        for other in others:
            if room(module) != room(other) and not {module, other} & set(ROOTS):
                yield module, other


def circles(arrows: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """The groups that reach each other both ways, each sorted."""
    reached = {start: _reachable(start, arrows) for start in arrows}
    groups = {
        tuple(sorted(other for other in reached[start] if start in reached.get(other, ())))
        for start in arrows
        if start in reached[start]
    }
    return sorted(map(list, groups))


def _reachable(start: str, arrows: Mapping[str, Iterable[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(arrows[start])
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(arrows.get(name, ()))
    return found


def assert_none(found: Iterable[str], advice: str) -> None:
    assert not found, "\n".join([advice, *sorted(found)])


def test_no_circle_of_files() -> None:
    assert_none(
        [" ".join(circle) for circle in circles(imports())],
        "these modules import each other: move what both need into the lower one, or below both",
    )


def test_no_circle_of_packages() -> None:
    arrows: dict[str, set[str]] = collections.defaultdict(set)
    for module, other in imports_between_rooms():
        arrows[room(module)].add(room(other))
    assert_none(
        [" ".join(circle) for circle in circles(arrows)],
        "these packages import each other: decide which is the lower one, and move what it takes from the higher",
    )


def test_every_package_has_a_floor() -> None:
    rooms = {room(module) for module in sources()} - set(ROOTS)
    listed = {name for floor in FLOORS for name in floor.split()}
    assert not rooms - listed, f"put {sorted(rooms - listed)} on a floor of FLOORS in tests/test_house.py"
    assert not listed - rooms, f"{sorted(listed - rooms)} no longer exist: take them off FLOORS in tests/test_house.py"


def test_no_package_imports_from_a_floor_above_it() -> None:
    floor = {name: number for number, line in enumerate(FLOORS) for name in line.split()}
    roof = len(FLOORS)  # for a room that has no floor yet, which the test above is about
    upward = [
        f"{module} -> {other}"
        for module, other in imports_between_rooms()
        if floor.get(room(module), roof) < floor.get(room(other), 0)
    ]
    advice = (
        "the importer stands below what it imports (FLOORS in tests/test_house.py): hand it over as an argument, or "
        "move it down; the order itself changes only if the picture of the whole does"
    )
    assert_none(upward, advice)


def test_few_small_modules_serve_one_other_module() -> None:
    importers = collections.Counter(other for others in imports().values() for other in others)
    small = [
        f"{module} ({lines} lines)"
        for module, path in sources().items()
        if importers[module] == 1 and module not in ROOTS and (lines := len(path.read_text().splitlines())) <= SMALL
    ]
    assert len(small) <= MOST_SMALL, "\n".join(
        [f"{len(small)} small modules have one importer, {MOST_SMALL} may: put some into theirs", *sorted(small)]
    )


def test_the_runtime_needs_neither_torch_nor_the_toolkit() -> None:
    wrong = [
        f"{module} -> {name}"
        for module in sources()
        if module.split(".")[0] == "hamsa_runtime"
        for name in imported(module)
        if name.split(".")[0] in ("torch", "hamsa_deploy") and (module, name) not in BINDINGS_OF_TORCH
    ]
    assert_none(wrong, "a device has hamsa_runtime alone; move this to hamsa_deploy:")


def test_the_vocabulary_is_there_before_anything_heavy() -> None:
    module = "hamsa_runtime.vocabulary"
    needed = {name for each in {module, *_reachable(module, imports())} for name in imported(each)}
    heavy = {name for name in needed if name.split(".")[0] not in {*sys.stdlib_module_names, "hamsa_runtime"}}
    assert not heavy, f"--help and every import wait for {sorted(heavy)}, which the vocabulary imports"


def test_names_are_said_in_the_vocabulary_alone() -> None:
    saying = {
        f"{module}: {' '.join(said)}"
        for module in sources()
        if module.split(".")[0] == "hamsa_deploy" and not module.startswith(RECORDS)
        for names in (TARGETS, PRECISIONS, METHODS)
        for said in _lists_of(tree(module), names)
    }
    advice = (
        "targets, precisions and methods are listed in hamsa_runtime/vocabulary.py: import them; what is to be known "
        "of each goes into its own record. A list that is another fact stands in SAYS_NAMES in tests/test_house.py, "
        "with its reason:"
    )
    assert_none(saying - set(SAYS_NAMES), advice)
    assert_none(set(SAYS_NAMES) - saying, "no longer said: take it off SAYS_NAMES in tests/test_house.py")


def _lists_of(module: ast.Module, names: tuple[str, ...]) -> Iterator[list[str]]:
    """The names in each tuple, list, set and dict that has two of them or more."""
    for node in ast.walk(module):
        if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            entries: list[ast.expr | None] = [*node.elts]
        elif isinstance(node, ast.Dict):
            entries = [*node.keys, *node.values]
        else:
            continue
        said = [entry.value for entry in entries if isinstance(entry, ast.Constant) and isinstance(entry.value, str)]
        if len(found := [name for name in said if name in names]) > 1:
            yield found
