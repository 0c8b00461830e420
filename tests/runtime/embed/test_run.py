"""hamsa-embed: what its parts hold, whatever the input is, and what a second run does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hamsa_runtime import Engine, InputError
from hamsa_runtime.embed import embed
from hamsa_runtime.locks import lock_if_free

from ..tiny_bundles import MakeBundle
from .inputs import COUNT, NAMES, list_of, png, rows_in, table_of_bytes, table_of_paths, tar_of


def test_a_folder_to_parts_of_what_the_engine_itself_gives(
    make_bundle: MakeBundle, photos: Path, tmp_path: Path
) -> None:
    bundle, output = make_bundle(), tmp_path / "vectors"
    (photos / "3.png").write_bytes(png(3)[:60])
    found = embed(bundle, photos, output, rows=3, label=True)
    rows = rows_in(output)
    assert (found.rows, found.failed, found.done, found.is_complete) == (8, 1, 3, True)
    assert [row["id"] for row in rows] == [*NAMES[:2], "3.png", *NAMES[2:]]
    bad = rows.pop(2)
    assert (bad["status"], bad["embedding"], bad["label"], bad["probability"]) == ("failed", None, None, None)
    assert "3.png: the image is damaged" in str(bad["error"])
    with Engine(bundle) as engine:
        paths = [str(photos / name) for name in NAMES]
        np.testing.assert_allclose([row["embedding"] for row in rows], engine.embed(paths), rtol=1e-6)
        best = [each[0] for each in engine.classify(paths)]
    assert [row["label"] for row in rows] == [label for label, _ in best]
    np.testing.assert_allclose([row["probability"] for row in rows], [share for _, share in best], rtol=1e-5)
    assert {(row["status"], row["error"]) for row in rows} == {("ok", None)}
    assert [path.name for path in output.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("made", "ids"),
    [
        (list_of, [f"photos/{name}" for name in NAMES]),
        (table_of_paths, [f"photos/{name}" for name in NAMES]),
        (table_of_bytes, [str(i) for i in range(COUNT)]),
        (tar_of, [f"000.tar/{name[:-4]}" for name in NAMES]),
    ],
)
def test_other_inputs_give_the_same_vectors(
    made: Callable[[Path], Path], ids: list[str], make_bundle: MakeBundle, photos: Path, tmp_path: Path
) -> None:
    bundle = make_bundle()
    embed(bundle, photos, tmp_path / "folder", rows=3)
    embed(bundle, made(photos), tmp_path / "other", rows=3)
    rows, others = rows_in(tmp_path / "folder"), rows_in(tmp_path / "other")
    assert [row["id"] for row in others] == ids
    np.testing.assert_allclose([row["embedding"] for row in others], [row["embedding"] for row in rows], rtol=1e-6)


def test_a_second_run_makes_what_is_missing_or_damaged(make_bundle: MakeBundle, photos: Path, tmp_path: Path) -> None:
    bundle, output = make_bundle(), tmp_path / "vectors"
    embed(bundle, photos, output, rows=2)
    expected = rows_in(output)
    parts = sorted(output.glob("*.parquet"))
    parts[1].unlink()
    parts[2].write_bytes(parts[2].read_bytes()[:100])
    kept = parts[0].stat().st_mtime_ns
    found = embed(bundle, photos, output, rows=2)
    assert (found.rows_now, found.rows, found.done) == (4, COUNT, 4)
    assert rows_in(output) == expected
    assert parts[0].stat().st_mtime_ns == kept


def test_workers_share_the_parts(make_bundle: MakeBundle, photos: Path, tmp_path: Path) -> None:
    bundle, output = make_bundle(), tmp_path / "vectors"
    counts = [embed(bundle, photos, output, rows=2, worker=(k, 3)).rows_now for k in (2, 0, 1)]
    assert counts == [2, 3, 2]
    assert [row["id"] for row in rows_in(output)] == NAMES


def test_a_shard_that_another_process_has_in_work_is_left_to_it(
    make_bundle: MakeBundle, photos: Path, tmp_path: Path
) -> None:
    bundle, output = make_bundle(), tmp_path / "vectors"
    embed(bundle, photos, output, rows=2, worker=(0, 4))
    with lock_if_free(output / "_hamsa" / "1.lock"):
        found = embed(bundle, photos, output, rows=2)
    assert (found.done, found.elsewhere, found.is_complete) == (3, 1, False)
    assert embed(bundle, photos, output, rows=2).is_complete
    assert [row["id"] for row in rows_in(output)] == NAMES


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"dtype": "float16"}, "embedding.dtype was float32, is float16"),
        ({"label": True}, "label was False, is True"),
        ({"rows": 3}, "input.rows_of_a_part was 2, is 3"),
        ({"backend": "openvino"}, "engine.backend was onnxruntime, is openvino"),
    ],
)
def test_another_job_in_the_folder_is_refused(
    changed: dict[str, object], named: str, make_bundle: MakeBundle, photos: Path, tmp_path: Path
) -> None:
    bundle, output = make_bundle(), tmp_path / "vectors"
    embed(bundle, photos, output, rows=2)
    with pytest.raises(InputError, match="the output of another job") as caught:
        embed(bundle, photos, output, **{"rows": 2, **changed})  # type: ignore[arg-type]
    assert named in str(caught.value)


def test_a_changed_input_is_refused(make_bundle: MakeBundle, photos: Path, tmp_path: Path) -> None:
    bundle, output = make_bundle(), tmp_path / "vectors"
    embed(bundle, photos, output)
    (photos / "new.png").write_bytes(png(9))
    with pytest.raises(InputError, match="files were added to the input"):
        embed(bundle, photos, output)


def test_half_precision_and_what_does_not_fit_into_it(make_bundle: MakeBundle, photos: Path, tmp_path: Path) -> None:
    bundle = make_bundle()
    embed(bundle, photos, tmp_path / "full")
    embed(bundle, photos, tmp_path / "half", dtype="float16")
    table = pq.read_table(tmp_path / "half")
    assert table.schema.field("embedding").type == pa.list_(pa.float16(), 6)
    full = np.array([row["embedding"] for row in rows_in(tmp_path / "full")], np.float16)
    np.testing.assert_array_equal(np.array(table["embedding"].to_pylist(), np.float16), full)
