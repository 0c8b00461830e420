"""The cluster's example counts what it says, and the adapters for Daft and Spark give what hamsa-embed gives."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pytest

from hamsa_runtime import Engine

from .conftest import EXAMPLES

FOLDER = EXAMPLES / "embed"


@pytest.fixture(scope="module")
def cluster() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cluster", FOLDER / "cluster.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_count_sees_what_is_lost_twice_or_of_nobody(
    cluster: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.make_images(tmp_path, 10)
    ids = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.jpg"))

    def is_right(ids: list[str], failed: int = cluster.DAMAGED) -> bool:
        status = ["failed"] * failed + ["ok"] * (len(ids) - failed)
        return bool(cluster.check(pa.table({"id": ids, "status": status}), tmp_path))

    assert len(ids) == 10
    assert is_right(ids)
    assert not is_right(ids[1:])
    assert not is_right([*ids, ids[0]])
    assert not is_right([*ids, "other.jpg"])
    assert not is_right(ids, failed=4)
    assert "9 rows, 1 lost, 0 twice, 0 of nobody, 5 failed" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(("package", "images"), [("daft", "digits/**/*.png"), ("pyspark", "digits")])
def test_an_adapter_gives_what_the_engine_gives(
    bundle: Path, digit_files: list[Path], tmp_path: Path, package: str, images: str
) -> None:
    pytest.importorskip(package, reason=f"needs {package}")
    folder = digit_files[0].parents[1].rename(tmp_path / "digits")
    try:
        (folder / "broken.png").write_bytes(b"no image")
        script = FOLDER / ("daft_job.py" if package == "daft" else "spark_job.py")
        words = [str(bundle), str(tmp_path / images), str(tmp_path / "vectors")]
        done = subprocess.run([sys.executable, str(script), *words], capture_output=True, text=True)
        assert "360 of 361" in done.stdout, done.stderr
        rows = pyarrow.dataset.dataset(tmp_path / "vectors").to_table().to_pylist()
        found = {(row.get("id") or row["path"]).split("/digits/")[1]: row["embedding"] for row in rows}
        assert found.pop("broken.png") is None
        names = [str(path.relative_to(digit_files[0].parents[1])) for path in digit_files]
        with Engine(bundle, threads=1) as engine:
            expected = engine.embed([str(folder / name) for name in names])
        np.testing.assert_allclose([found[name] for name in names], expected, rtol=1e-5, atol=1e-6)
    finally:
        (folder / "broken.png").unlink(missing_ok=True)
        folder.rename(digit_files[0].parents[1])
