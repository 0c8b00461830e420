"""Ctrl-C in a compiled module's import is Ctrl-C, and no missing package."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hamsa_deploy.cli.machine import found_package
from hamsa_deploy.scan.extensions import without_extensions
from hamsa_deploy.targets.openvino_int8 import int8_ir_from_onnx
from hamsa_deploy.targets.openvino_ir import ir_from_onnx
from hamsa_runtime import signing
from hamsa_runtime.backends import backend_for
from hamsa_runtime.cli import build, sign
from hamsa_runtime.clips import load_clip
from hamsa_runtime.errors import MissingError
from hamsa_runtime.interrupts import interruptible
from hamsa_runtime.tensorrt import cuda
from hamsa_runtime.vocabulary import ENGINES
from tests.shared import Nano


class Compiled(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a package whose import is interrupted, and ends as one of a compiled module does."""

    def __init__(self, name: str, presses: bool = True, chained: bool = False) -> None:
        self.name, self.presses, self.chained = name, presses, chained

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(name, self) if name == self.name else None

    def exec_module(self, module: ModuleType) -> None:
        stopped: KeyboardInterrupt | None = None
        try:
            if self.presses:
                signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as error:
            stopped = error
        if self.chained:
            raise ImportError("initialization failed") from stopped
        raise ImportError('PyCapsule_Import could not import module "datetime"')


Interrupt = Callable[..., None]


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Iterator[Interrupt]:
    """Ctrl-C once a package is imported, which is not there until then."""

    def when(name: str, **how: Any) -> None:
        for module in [each for each in sys.modules if f"{each}.".startswith(f"{name}.")]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setattr(sys, "meta_path", [Compiled(name, **how), *sys.meta_path])

    yield when
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("chained", [True, False])
def test_an_error_after_ctrl_c_is_ctrl_c(interrupt: Interrupt, chained: bool) -> None:
    interrupt("compiled", chained=chained)
    with pytest.raises(KeyboardInterrupt), interruptible():
        import compiled  # type: ignore[import-not-found]  # noqa: F401


def test_without_ctrl_c_an_error_stays_what_it_is(interrupt: Interrupt) -> None:
    interrupt("compiled", presses=False)
    with pytest.raises(ImportError, match="PyCapsule"), interruptible():
        import compiled  # noqa: F401
    with pytest.raises(KeyboardInterrupt), interruptible():
        signal.raise_signal(signal.SIGINT)


def test_what_ends_well_after_ctrl_c_that_somebody_caught_goes_on() -> None:
    with interruptible(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_a_handler_of_somebody_else_is_called_and_another_thread_has_none() -> None:
    calls: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: calls.append(number))
    try:
        with interruptible():
            signal.raise_signal(signal.SIGINT)
        assert calls == [signal.SIGINT]
        thread = threading.Thread(target=_in_a_block, args=(calls,))
        thread.start()
        thread.join()
        assert calls == [signal.SIGINT, -1]
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with interruptible():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, handler)


def test_ctrl_c_after_engines_that_were_closed_in_the_order_in_which_they_were_opened(nano: Nano) -> None:
    """In a process of its own: where it fails, the system ends it."""
    program = """
import gc, signal, sys
from hamsa_runtime import Engine
engines = [Engine(sys.argv[1]), Engine(sys.argv[1])]
while engines:
    engines.pop(0).close()
    gc.collect()
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", program, nano("openvino").folder], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


def _in_a_block(calls: list[int]) -> None:
    with interruptible():
        calls.append(-1)


def _model(folder: Path) -> None:
    with without_extensions():
        import compiled  # noqa: F401


def _clip(folder: Path) -> None:
    (folder / "a.flac").write_bytes(b"fLaC and more of it")
    load_clip(folder / "a.flac")


IMPORTS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "backend": (ENGINES["onnxruntime"].module, lambda folder: backend_for("onnx", None)),
    "conversion": ("openvino", lambda folder: ir_from_onnx(folder / "model.onnx", folder, "fp32")),
    "int8": ("nncf", lambda folder: int8_ir_from_onnx(folder / "model.onnx", folder, (), {}, ())),
    "doctor": ("openvino", lambda folder: found_package("openvino")),
    "model": ("compiled", _model),
    "cuda": ("cuda", lambda folder: cuda.runtime.__wrapped__()),
    "keygen": ("cryptography", lambda folder: signing.make_keys(folder / "k.pem")),
    "clip": ("soundfile", _clip),
}


@pytest.mark.parametrize("place", IMPORTS)
def test_wherever_a_package_is_imported(interrupt: Interrupt, tmp_path: Path, place: str) -> None:
    package, imports = IMPORTS[place]
    interrupt(package)
    with pytest.raises(KeyboardInterrupt):
        imports(tmp_path)


@pytest.mark.parametrize(("place"), ["backend", "conversion", "int8", "cuda", "keygen", "clip"])
def test_without_ctrl_c_it_is_a_missing_package(interrupt: Interrupt, tmp_path: Path, place: str) -> None:
    package, imports = IMPORTS[place]
    interrupt(package, presses=False)
    with pytest.raises(MissingError):
        imports(tmp_path)


def test_the_runtimes_commands_say_that_they_were_interrupted(
    interrupt: Interrupt, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def opened(*_: object, **__: object) -> None:
        try:
            import compiled  # noqa: F401
        except ImportError as error:
            raise MissingError("a package is not there") from error

    interrupt("compiled")
    monkeypatch.setattr("hamsa_runtime.bundle.open_bundle", opened)
    assert build.main(["bundle"]) == 130
    interrupt("cryptography")
    assert sign.main(["keygen", str(tmp_path / "k.pem")]) == 130
    assert capsys.readouterr().err == "interrupted; nothing was written\ninterrupted\n"
