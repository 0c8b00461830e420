"""The table of README.md, printed with what each row's test did; commands as users call them; small bundles."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich import box
from rich.console import Console
from rich.table import Table

from hamsa_deploy.cli import export, parity
from hamsa_deploy.parity import metrics
from hamsa_runtime.cli import build
from tests.cli.conftest import USER_CODE
from tests.runtime.tiny_bundles import image_model, manifest_for, save_model, write_files

README = Path(__file__).with_name("README.md")
COMMANDS = {"export": export.main, "parity": parity.main, "build": build.main}
MODULE = "models_with_faults"
# A second or less each to export.
ARRAYS = ("--model", f"{MODULE}:Sharpening", "--input", "2x12,2x3", "--to", "onnx")
IMAGES = ("--model", f"{MODULE}:Classifier", "--image-dtype", "uint8", "--input", "1x3x8x8", "--to", "onnx")
INT8 = (*IMAGES, "--int8", "--calibration-method", "min-max", "--calibration")
# So small a model need not hold int8.
ANY_AGREEMENT = metrics.Thresholds(max_relative_error=1e9, cosine=-1, top1=0)
MORE_CODE = """
class Loud(nn.Module):
    def forward(self, x):
        return (torch.fft.rfft(x * 1000, dim=1).abs() + 1).log()

class Undefined(nn.Module):
    def forward(self, x):
        return torch.fft.rfft(x, dim=1).real.log()
"""

Did = Callable[[str], None]


def rows() -> dict[int, str]:
    """Every fault of the README by its number."""
    found = re.findall(r"^\| (\d+) \| (.+?) \|", README.read_text(encoding="utf-8"), re.MULTILINE)
    return {int(number): fault for number, fault in found}


@pytest.fixture
def did(request: pytest.FixtureRequest) -> Did:
    """Takes one sentence on what the test has really done, for the table."""
    return lambda sentence: request.node.user_properties.append(("did", sentence))


@dataclass
class Outcome:
    """What became of one test of a row: "passed" or another; a sentence on what it did; how long it took."""

    verdict: str
    said: str
    seconds: float


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table, where only these tests were run: among all others it would be in the way."""
    outcomes: dict[int, dict[str, Outcome]] = {}
    for verdict in ("passed", "failed", "skipped", "error"):
        for report in terminalreporter.getreports(verdict):
            if found := re.search(r"test_row_(\d+)_", report.nodeid):
                _note(outcomes.setdefault(int(found[1]), {}), verdict, report)
    if outcomes:
        terminalreporter.write_line("")
        _print_table({number: list(row.values()) for number, row in outcomes.items()})


def _note(row: dict[str, Outcome], verdict: str, report: pytest.TestReport) -> None:
    """Setting up, the call, and clearing up are reported one by one: the worst of them is the verdict."""
    outcome = row.setdefault(report.nodeid, Outcome("passed", "", 0.0))
    outcome.seconds += report.duration
    if verdict != "passed":
        outcome.verdict = verdict
    if verdict == "skipped" and isinstance(report.longrepr, tuple):
        outcome.said = str(report.longrepr[2])
    elif report.when == "call":
        outcome.said = "; ".join(str(text) for name, text in report.user_properties if name == "did")


def _print_table(outcomes: dict[int, list[Outcome]]) -> None:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="cyan")
    table.add_column("#", justify="right")
    table.add_column("fault", max_width=30)
    table.add_column("what the test did")
    table.add_column("", no_wrap=True)
    table.add_column("s", justify="right", no_wrap=True)
    for number, fault in rows().items():
        results = outcomes.get(number, [Outcome("not run", "", 0.0)])
        verdicts = {each.verdict for each in results}
        worst = next((each for each in ("failed", "error", "skipped") if each in verdicts), results[0].verdict)
        style = {"passed": "green", "skipped": "yellow"}.get(worst, "red")
        said = "\n".join(each.said for each in results if each.said)
        seconds = sum(each.seconds for each in results)
        table.add_row(str(number), fault, said, f"[{style}]{worst}[/]", f"{seconds:.1f}")
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    console.print(table)
    passed = sum({each.verdict for each in results} == {"passed"} for results in outcomes.values())
    seconds = sum(each.seconds for results in outcomes.values() for each in results)
    console.print(f"{passed} of {len(rows())} rows passed, in {seconds:.0f} s")


@dataclass(frozen=True)
class Finished:
    """What a command left behind."""

    code: int
    out: str
    err: str


Hamsa = Callable[..., Finished]
Refused = Callable[..., str]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the user's models in it and nothing else."""
    (tmp_path / f"{MODULE}.py").write_text(USER_CODE + MORE_CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    return tmp_path


@pytest.fixture
def hamsa(workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Hamsa:
    """`hamsa("export", ...)` calls the command in the workplace."""
    monkeypatch.setattr("hamsa_deploy.sweep.run.SECONDS", 0.05)  # of a sweep's benchmark

    def call(command: str, *arguments: str | Path) -> Finished:
        capsys.readouterr()
        code = COMMANDS[command]([str(each) for each in arguments])
        return Finished(code, *capsys.readouterr())

    return call


@pytest.fixture
def refused(hamsa: Hamsa, workplace: Path) -> Refused:
    """Calls a command that must refuse: with this exit code, all of these words, a way out, and no file changed."""

    def check(command: str, *arguments: str | Path, code: int = 2, says: tuple[str, ...] = ()) -> str:
        before = snapshot(workplace)
        done = hamsa(command, *arguments)
        assert done.code == code, done.err
        for words in says:
            assert words in done.err, done.err
        assert re.search(r"expected: |try: |likely cause: ", done.err), done.err
        assert snapshot(workplace) == before
        return done.err

    return check


@pytest.fixture
def older(workplace: Path) -> Path:
    """A bundle that is there already, and must stay as it is."""
    return bundle_at(workplace / "older")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A small bundle of images for ONNX Runtime."""
    return bundle_at(tmp_path / "bundle")


def bundle_at(folder: Path, target: str = "onnx", **changes: object) -> Path:
    """A bundle of the image model of tests/runtime, which takes uint8 (N, 8, 12, 3)."""
    save_model(image_model("graph", "batch"), folder, target)
    return write_files(folder, manifest_for(target=target, **changes))


def pictures(folder: Path, count: int, constant: bool = False) -> Path:
    """A folder of PNG files of 8 x 8 pixels."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(count):
        pixels = np.full((8, 8, 3), 7, np.uint8) if constant else rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02}.png")
    return folder


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file and folder below a folder, hidden ones too."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else b"<folder>"
        for path in sorted(folder.rglob("*"))
        if "__pycache__" not in path.parts
    }


PIXELS = np.random.default_rng(3).integers(0, 256, (5, 8, 12, 3), dtype=np.uint8)
