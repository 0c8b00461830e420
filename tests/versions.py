"""Which tests pass with the versions that are installed: a row of docs/versions.md.

    make versions PYTHON=python3.13 WITH="torch==2.14.1 onnxruntime==1.32.0"
    make versions PYTHON=python3.10 WITH="$(.venv/bin/python tests/versions.py --lowest)"

makes an environment and runs this in it: the bundled model is exported by the command line and compared with PyTorch,
and those tests run that lean most on what others may change: how PyTorch captures and translates, what engines read
and compute.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import platform
import re
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import pytest

from hamsa_deploy.cli.export import main as export

ROOT = Path(__file__).parents[1]
EXPORTS = ("--to onnx", "--to openvino", "--to openvino --int8")
TESTS = """
    spectral/compiler/test_capture.py spectral/compiler/test_composites.py spectral/compiler/test_conditions.py
    spectral/compiler/test_first_run.py spectral/compiler/test_real_program.py spectral/compiler/test_vmapped.py
    spectral/test_values.py scan/test_operators.py models/test_hamsa.py precision/int8/test_qdq.py
    targets/test_onnx_exporter.py targets/test_onnx_file.py targets/test_openvino_ir.py targets/test_openvino_int8.py
""".split()
SHOWN = "torch onnx onnxscript onnx-ir onnxruntime openvino nncf numpy pillow".split()


class Counts:
    """A plugin for pytest: how many tests passed, failed and were skipped."""

    def __init__(self) -> None:
        self.of: collections.Counter[str] = collections.Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Tests are skipped, and their fixtures fail, before they are called."""
        if report.when == "call" or report.outcome != "passed":
            self.of[report.outcome] += 1


def lowest() -> list[str]:
    """The oldest versions that both packages take where they export to ONNX and OpenVINO, for pip."""
    deploy = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    runtime = (ROOT / "runtimes/python/pyproject.toml").read_text(encoding="utf-8")
    needed = [*(text.split("dependencies]")[0] for text in (runtime, deploy)), *re.findall(r"int8 = \[[^]]*", deploy)]
    found = dict(re.findall(r'^ +"([\w-]+)>=([\d.]+)"', "\n".join(needed), re.MULTILINE))
    return [f"{name}=={bound}" for name, bound in found.items()]


def failed_exports() -> list[str]:
    """Those that end with another exit code than 0, and with which."""
    with tempfile.TemporaryDirectory() as folder:
        codes = {each: export([*each.split(), "--quiet", "--output", f"{folder}/{each}"]) for each in EXPORTS}
    return [f"{each}: {code}" for each, code in codes.items() if code]


def main() -> int:
    """Export, run the tests, print the row; returns 0 if all is well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lowest", action="store_true", help="print the oldest versions, and run nothing")
    if parser.parse_args().lowest:
        sys.stdout.write(" ".join(lowest()) + "\n")
        return 0
    failed, counts = failed_exports(), Counts()
    code = pytest.main([*(str(ROOT / "tests" / each) for each in TESTS), f"--rootdir={ROOT}", "-q"], plugins=[counts])
    outcomes = (str(counts.of[each]) for each in ("passed", "failed", "skipped"))
    rows = [
        ["Python", *SHOWN, "exports", "passed, failed, skipped", "date"],
        [
            platform.python_version(),
            *map(version, SHOWN),
            "; ".join(failed) or "all",
            ", ".join(outcomes),
            str(datetime.date.today()),
        ],
    ]
    sys.stdout.writelines(f"| {' | '.join(row)} |\n" for row in rows)
    return int(code or bool(failed))


if __name__ == "__main__":
    sys.exit(main())
