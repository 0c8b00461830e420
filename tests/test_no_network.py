"""No command opens an internet socket, or leaves the identifiers of engines' usage reports in the home folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .cli.conftest import USER_CODE
from .without_network import UNSUPPORTED

WITHOUT_NETWORK = [sys.executable, str(Path(__file__).with_name("without_network.py"))]
COMMAND = "import sys; from hamsa_deploy.cli.{0} import main; sys.exit(main())"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An empty home folder, and no sign of continuous integration, where engines report nothing by themselves."""
    (tmp_path / "home").mkdir()
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ}
    return {**kept, "HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}


def run(code: str, arguments: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [*WITHOUT_NETWORK, sys.executable, "-c", code, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    if result.returncode == UNSUPPORTED:
        pytest.skip("this system does not let a process give up its sockets (seccomp)")
    return result


def left_at_home(environment: dict[str, str]) -> list[str]:
    """Top folders in the home and its cache, other than our own."""
    home = Path(environment["HOME"])
    found = [path.relative_to(home).as_posix() for path in (*home.glob("*"), *home.glob(".cache/*"))]
    return sorted(set(found) - {".cache", ".cache/hamsa-deploy", ".cache/hamsa-runtime"})


@pytest.mark.parametrize(
    "code", ["import socket; socket.socket()", "import socket; socket.getaddrinfo('hamsa.invalid', 1)"]
)
def test_a_socket_is_noticed(code: str, environment: dict[str, str]) -> None:
    assert run(code, [], environment).returncode < 0


def test_engines_left_alone_would_be_noticed(environment: dict[str, str]) -> None:
    """So that the tests below can fail: this is what they would find, if the engines' reports were not turned off."""
    result = run("import onnxruntime, openvino; print('imported')", [], environment)
    assert result.returncode < 0 or left_at_home(environment) != []


def test_an_export_and_its_use_need_no_network(environment: dict[str, str], tmp_path: Path) -> None:
    bundle, photo = str(tmp_path / "bundle"), str(tmp_path / "grey.png")
    (tmp_path / "mine.py").write_text(USER_CODE)
    model = ["--model", "mine:Classifier", "--image-dtype", "uint8", "--input", "1x3x8x8"]
    path = {"PYTHONPATH": os.pathsep.join([environment.get("PYTHONPATH", ""), str(tmp_path)])}
    export = run(COMMAND.format("export"), [*model, "--to", "onnx", "--quiet", "-o", bundle], environment | path)
    assert export.returncode == 0, export.stderr
    code = (
        "import sys; from PIL import Image; from hamsa_runtime import Engine\n"
        "Image.new('RGB', (40, 40), 'grey').save(sys.argv[2])\n"
        "for backend in ('onnxruntime', 'openvino'):\n"
        "    print(len(Engine(sys.argv[1], backend=backend).classify(sys.argv[2])[0]))"
    )
    engines = run(code, [bundle, photo], environment)
    assert engines.stdout.split() == ["5", "5"], engines.stderr
    doctor = run(COMMAND.format("doctor"), [], environment)
    assert doctor.returncode == 0, doctor.stderr
    assert left_at_home(environment) == []


@pytest.mark.slow  # and the bundled model
def test_int8_parity_and_benchmarks_need_no_network(environment: dict[str, str], tmp_path: Path) -> None:
    bundle = str(tmp_path / "nano")
    for command, arguments in [
        ("export", ["--to", "openvino", "--int8", "--quiet", "-o", bundle]),
        ("parity", [bundle, "--layers", "--quiet"]),
        ("bench", [bundle, "--peer", "dft", "--peer", "deit_s", "--seconds", "0.2"]),
    ]:
        result = run(COMMAND.format(command), arguments, environment)
        assert result.returncode == 0, result.stderr
    assert left_at_home(environment) == []
