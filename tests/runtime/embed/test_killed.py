"""A job that is killed at any moment, and begun again: no id is lost, none is there twice."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hamsa_runtime.embed import embed, verify

from ..tiny_bundles import MakeBundle
from .inputs import png

ROWS = 400


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """Rows of a few different images, one of which is none, in groups of four."""
    contents = [*(png(i) for i in range(6)), b"no image"]
    path = tmp_path / "images.parquet"
    columns = {"id": [f"row {i}" for i in range(ROWS)], "bytes": [contents[i % 7] for i in range(ROWS)]}
    pq.write_table(pa.table(columns), path, row_group_size=4)
    return path


def begun(bundle: Path, tables: Path, output: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "hamsa_runtime.cli.embed", str(bundle), str(tables), "-o", str(output)]
    return subprocess.Popen([*command, "--rows", "4", "--quiet"])


def killed_until_whole(
    bundle: Path, tables: Path, output: Path, kills: int, wait: Callable[[int, subprocess.Popen[bytes]], None]
) -> None:
    for number in range(kills):
        process = begun(bundle, tables, output)
        wait(number, process)
        process.kill()
        process.wait()
    found = embed(bundle, tables, output, rows=4)
    assert (found.rows, found.failed, found.is_complete) == (ROWS, ROWS // 7, True)
    ids = pq.read_table(output, columns=["id"])["id"].to_pylist()
    assert ids == [f"row {i}" for i in range(ROWS)]
    assert verify(bundle, tables, output, rows=4).wrong == []
    assert not [path.name for path in output.iterdir() if path.name.startswith(".")], "leftovers of killed jobs"


def parts(output: Path) -> int:
    return len(list(output.glob("*.parquet")))


def test_two_kills_in_the_middle(make_bundle: MakeBundle, tables: Path, tmp_path: Path) -> None:
    output = tmp_path / "vectors"

    def wait(number: int, process: subprocess.Popen[bytes]) -> None:
        """Until some parts are there."""
        while parts(output) < 10 * (number + 1) and process.poll() is None:
            time.sleep(0.002)
        assert process.poll() is None, "it was done before it was killed"

    killed_until_whole(make_bundle(), tables, output, 2, wait)


@pytest.mark.slow
def test_fifty_kills_at_any_moment(make_bundle: MakeBundle, tables: Path, tmp_path: Path) -> None:
    """From before anything is there to while parts are written; a part is taken away now and then, so that the job is
    never over."""
    rng, output = random.Random(21), tmp_path / "vectors"

    def wait(number: int, process: subprocess.Popen[bytes]) -> None:
        for part in rng.sample(sorted(output.glob("*.parquet")), min(parts(output), 20)):
            part.unlink()
        if rng.random() < 0.2:
            time.sleep(rng.uniform(0, 1.5))
            return
        before = parts(output)
        while parts(output) == before and process.poll() is None:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.3))

    killed_until_whole(make_bundle(), tables, output, 50, wait)
