"""A workplace with a user's own models in it, commands as processes, and one shared export of the bundled model."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest

from tests.shared import made_once

USER_MODULE = "models_of_a_cli_user"
USER_CODE = """
import torch
from torch import nn

class Sharpening(nn.Module):
    def forward(self, signal, offset):
        spectrum = torch.fft.fft(signal)
        return torch.fft.ifft(spectrum * spectrum.abs()).real + offset[:, :1]

class Spectrum(nn.Module):
    def forward(self, x):
        return torch.fft.rfft(x, dim=1).abs()

class Echo(nn.Module):
    def forward(self, x):
        return x + 0.5 * torch.nn.functional.pad(x, (100, 0))[:, : x.shape[1]]

class Inverting(nn.Module):
    def forward(self, x):
        return torch.linalg.inv(torch.fft.fft(x)).real

class AcrossTheBatch(nn.Module):
    def forward(self, x):
        return torch.fft.fft(x, dim=0).real

class Classifier(nn.Module):
    def __init__(self, classes=5):
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(3 * 8 * 8, classes)
    def forward(self, images):
        return {"logits": self.head(torch.fft.fft(images).abs().flatten(1))}

class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = Classifier()
    def forward(self, images):
        return self.body(images)

def failing():
    raise RuntimeError("no such luck")
"""


@dataclass(frozen=True)
class Finished:
    """What a command left behind."""

    code: int
    out: str
    err: str


Run = Callable[..., Finished]
UserModel = Callable[[str], str]


def run_command(command: str, *arguments: str, cwd: Path, before: str = "") -> Finished:
    """Run `hamsa-<command>` as a process of its own; `before` is Python that runs first in it."""
    program = f"import sys\n{before}\nfrom hamsa_deploy.cli.{command} import main\nsys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=cwd, capture_output=True, text=True, timeout=300
    )
    return Finished(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, holding USER_MODULE and nothing else. (Its name is a test of its own.)"""
    folder = tmp_path / "Arbeit für später"
    folder.mkdir()
    (folder / f"{USER_MODULE}.py").write_text(USER_CODE)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, USER_MODULE, raising=False)
    return folder


@pytest.fixture
def run_hamsa(workplace: Path) -> Run:
    """`run_command` in the workplace."""
    return functools.partial(run_command, cwd=workplace)


@pytest.fixture
def user_model() -> UserModel:
    """'Sharpening' -> the value of --model that names it."""
    return lambda name: f"{USER_MODULE}:{name}"


@dataclass(frozen=True)
class Export:
    """The shared export: what the command printed with --json, and the bundle."""

    finished: Finished
    bundle: Path


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Export:
    """One export of hamsa_nano for the whole run: the first worker makes it, the others wait for it."""

    def make(folder: Path) -> None:
        folder.mkdir()
        done = run_command("export", "--json", cwd=folder)
        for name, text in {"out": done.out, "err": done.err, "code": str(done.code)}.items():
            (folder / f"{name}.txt").write_text(text)

    folder = made_once(tmp_path_factory.getbasetemp(), worker_id, "export", make)
    out, err, code = ((folder / f"{name}.txt").read_text() for name in ("out", "err", "code"))
    return Export(Finished(int(code), out, err), folder / "out" / "hamsa_nano-openvino-fp32")


@pytest.fixture(autouse=True)
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files and bundles of these tests are not tried first, which takes seconds; see pipeline/test_trial."""
    for module in ("hamsa_runtime.trial", "hamsa_deploy.pipeline.trial"):
        monkeypatch.setattr(f"{module}.try_in_a_process", lambda *words, **more: None)


Older = Callable[[str, str], None]


@pytest.fixture
def older(monkeypatch: pytest.MonkeyPatch) -> Older:
    """Has pip's record of a distribution say that another version of it is installed."""
    real = metadata.version

    def install(name: str, version: str) -> None:
        monkeypatch.setattr("importlib.metadata.version", lambda asked: version if asked == name else real(asked))

    return install
