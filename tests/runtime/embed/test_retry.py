"""--retry-failed: what was good stays as it is, what is good now takes its place."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest

from hamsa_runtime.embed import embed
from hamsa_runtime.embed.retry import OldPart, kept_rows

from ..tiny_bundles import MakeBundle
from .inputs import NAMES, png, rows_in, table_of_bytes, tar_of


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_rows_that_failed_are_tried_again_and_no_others(
    rows: int, make_bundle: MakeBundle, photos: Path, tmp_path: Path
) -> None:
    bundle, output = make_bundle(), tmp_path / "vectors"
    embed(bundle, photos, tmp_path / "expected")
    for name in ("2.png", "a b/1.png", "a b/5.png"):
        (photos / name).write_bytes(b"no image")
    assert embed(bundle, photos, output, rows=rows).failed == 3
    untouched = {path: path.stat().st_mtime_ns for path in output.glob("*.parquet")}
    (photos / "2.png").write_bytes(png(2))
    (photos / "a b/1.png").write_bytes(png(1))
    (photos / "0.png").write_bytes(b"no image any more, and not asked for")
    assert embed(bundle, photos, output, rows=rows).rows_now == 0
    found = embed(bundle, photos, output, rows=rows, retry_failed=True)
    assert (found.rows, found.rows_now, found.failed, found.failed_now) == (7, 3, 1, 1)
    after, expected = rows_in(output), rows_in(tmp_path / "expected")
    assert [row["id"] for row in after] == [row["id"] for row in expected]
    bad = after.pop(6)
    assert (bad["id"], bad["status"], bad["embedding"]) == ("a b/5.png", "failed", None)
    assert {row["status"] for row in after} == {"ok"}
    np.testing.assert_allclose(
        [row["embedding"] for row in after], [row["embedding"] for row in expected[:6]], rtol=1e-6
    )
    if rows == 1:
        changed = {path.name[:12] for path, before in untouched.items() if path.stat().st_mtime_ns != before}
        assert changed == {"part-0000001", "part-0000004", "part-0000006"}


@pytest.mark.parametrize("rows_together", [2, 64])
def test_an_input_that_changed_since_is_not_mixed_with_what_was(
    rows_together: int, make_bundle: MakeBundle, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tar file of the same size, with its members in another order; what was read ahead of it is dropped."""
    monkeypatch.setattr("hamsa_runtime.embed.vectors.MOST_ROWS", rows_together)
    bundle, output = make_bundle(), tmp_path / "vectors"
    (photos / "2.png").write_bytes(b"no image")
    tar = tar_of(photos)
    embed(bundle, tar, output)
    before = rows_in(output)
    size = tar.stat().st_size
    with tarfile.open(tar, "w") as archive:
        for name in reversed(NAMES):
            archive.add(photos / name, name)
            archive.add(photos / "notes.txt", f"{name[:-4]}.txt")
    assert tar.stat().st_size == size
    found = embed(bundle, tar, output, retry_failed=True)
    assert "rows of other ids than the input has now" in found.unreadable["000.tar"].found
    assert rows_in(output) == before


def test_a_part_with_more_rows_than_the_input(make_bundle: MakeBundle, photos: Path, tmp_path: Path) -> None:
    tables = table_of_bytes(photos)
    embed(make_bundle(), tables, tmp_path / "vectors", rows=4)
    part = sorted((tmp_path / "vectors").glob("*.parquet"))[0]
    assert kept_rows(part).tolist() == [True] * 4
    with OldPart(part) as old, pytest.raises(Exception, match="rows of other ids"):
        old.check_end()
