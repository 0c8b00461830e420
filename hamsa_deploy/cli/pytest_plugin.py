"""A plugin of pytest: `pytest --hamsa-bundle out/digits` gates a release on its bundle.

For each bundle it adds two tests: `files`, that every file has the hash of the manifest, and `parity`, what
hamsa-parity does with the same options. Tests of your own get the bundle through the fixtures `hamsa_bundle` and
`hamsa_engine`, and compare it with `hamsa_deploy.testing.assert_parity`. Nothing heavy is imported before such a test
runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hamsa_runtime.errors import HamsaError

if TYPE_CHECKING:
    from hamsa_runtime import Engine

# Options of hamsa-parity that the gate takes as --hamsa-...
PASSED_ON = {
    "reference": "the checkpoint or ONNX file that the bundle was made from",
    "against": "another bundle to compare with, instead of the original",
    "model": "the package.module:factory of your own model",
    "data": "images or arrays, as for hamsa-parity",
    "labels": "class names, one per line",
    "max-drop": "largest loss of top-1 accuracy, in percentage points",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("hamsa", "bundles of hamsa-deploy")
    group.addoption(
        "--hamsa-bundle", action="append", default=[], metavar="DIR", help="gate on this bundle; may be repeated"
    )
    for name, text in PASSED_ON.items():
        group.addoption(f"--hamsa-{name}", default=None, metavar=name.upper(), help=text)


def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    checks = {"files": _check_files, "parity": _check_parity}
    items[:0] = [
        BundleTest.from_parent(session, name=f"{bundle}::{name}", bundle=bundle, check=check)
        for bundle in config.getoption("--hamsa-bundle")
        for name, check in checks.items()
    ]


class BundleTest(pytest.Item):
    """One check of one bundle."""

    def __init__(self, *, bundle: str, check: Callable[[pytest.Config, Path], None], **others: Any) -> None:
        super().__init__(**others)
        self._bundle, self._check = Path(bundle), check

    def runtest(self) -> None:
        self._check(self.config, self._bundle)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Found, expected and the way out, not a traceback through this package."""
        if isinstance(excinfo.value, HamsaError | AssertionError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        return self._bundle, None, self.name


def _check_files(config: pytest.Config, bundle: Path) -> None:
    from hamsa_runtime.bundle import open_bundle

    open_bundle(bundle).verify()


def _check_parity(config: pytest.Config, bundle: Path) -> None:
    from hamsa_deploy.cli.parity import options_from
    from hamsa_deploy.cli.parity_request import compare_request, request_from_options
    from hamsa_deploy.testing import failure_text

    given = {name: config.getoption(f"--hamsa-{name}") for name in PASSED_ON}
    arguments = [f"--{name}={value}" for name, value in given.items() if value is not None]
    request = request_from_options(options_from([str(bundle), *arguments]))
    report = compare_request(request)
    assert report.passed, failure_text(bundle, report, request.reference, request.data)


@pytest.fixture(scope="session")
def hamsa_bundle(request: pytest.FixtureRequest) -> Path:
    """The folder that --hamsa-bundle names, the first if there are several; the test is skipped without one."""
    bundles = request.config.getoption("--hamsa-bundle")
    if not bundles:
        pytest.skip("needs --hamsa-bundle DIR")
    return Path(bundles[0])


@pytest.fixture(scope="session")
def hamsa_engine(hamsa_bundle: Path) -> Iterator[Engine]:
    """That bundle, loaded."""
    from hamsa_runtime import Engine

    with Engine(hamsa_bundle) as engine:
        yield engine
