"""The same job on Ray: what becomes of answers, deaths and folders that are not shared; and on a real cluster."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hamsa_runtime import Engine, InputError, MissingError
from hamsa_runtime.cli.embed import main
from hamsa_runtime.embed import Embedded, embed, verify
from hamsa_runtime.ray import MOST_DEATHS, Embedder, embed_on_ray

from .cluster_here import ClusterHere
from .embed.inputs import COUNT, png, rows_in
from .tiny_bundles import WIDTH, MakeBundle

PART = 2  # rows: four parts


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(COUNT):
        (folder / f"{i}.png").write_bytes(png(i))
    return folder


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> ClusterHere:
    cluster = ClusterHere()
    for name in ("ray", "ray.data"):
        monkeypatch.setitem(sys.modules, name, cluster)
    return cluster


def objects(*values: object) -> np.ndarray:
    column = np.empty(len(values), object)
    column[:] = values
    return column


def test_an_embedder_adds_columns_to_a_batch_and_keeps_failures_as_rows(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    batch = {"bytes": objects(png(0), b"no image", None, png(1)), "number": np.arange(4)}
    found = Embedder(bundle, dtype="float16", label=True)(batch)
    assert list(found) == ["bytes", "number", "embedding", "label", "probability", "status", "error"]
    assert found["status"].tolist() == ["ok", "failed", "failed", "ok"]
    assert found["embedding"].shape == (4, WIDTH)
    assert found["embedding"].dtype == np.float16
    assert np.isnan(found["embedding"]).all(axis=1).tolist() == [False, True, True, False]
    assert "no image" in found["error"][1] or "not an image" in found["error"][1]
    with Engine(bundle) as engine:
        expected = engine.embed([png(0), png(1)])
        np.testing.assert_allclose(found["embedding"][[0, 3]], expected, rtol=2e-3)  # half of float16's last bit
        assert found["label"][0] == engine.classify(png(0))[0][0][0]


def test_an_embedder_takes_paths_and_names_what_it_cannot_take(make_bundle: MakeBundle, photos: Path) -> None:
    embedder = Embedder(make_bundle())
    found = embedder({"path": np.array([str(photos / "0.png"), str(photos / "none.png")])})
    assert found["status"].tolist() == ["ok", "failed"]
    assert len(embedder({"path": objects()})["embedding"]) == 0
    with pytest.raises(InputError, match="columns image"):
        embedder({"image": np.zeros((1, 8, 12, 3), np.uint8)})
    with pytest.raises(InputError, match="as Ray Data has binary columns"):
        embedder({"bytes": np.array([png(0)])})


def test_a_job_that_was_begun_here_is_finished_there(
    make_bundle: MakeBundle, photos: Path, tmp_path: Path, here: ClusterHere
) -> None:
    bundle, output = make_bundle(), tmp_path / "vectors"
    begun = embed(bundle, photos, output, rows=PART, worker=(1, 2), threads=1)
    found = embed_on_ray(bundle, photos, output, rows=PART)
    assert here.given == [[0, 2]]
    assert (found.fingerprint, found.rows, found.rows_now, found.done) == (begun.fingerprint, COUNT, 4, 4)
    assert [row["id"] for row in rows_in(output)] == [f"{i}.png" for i in range(COUNT)]
    assert verify(bundle, photos, output, rows=PART).wrong == []
    assert here.ended


def test_a_job_that_was_begun_there_is_finished_here(
    make_bundle: MakeBundle, photos: Path, tmp_path: Path, here: ClusterHere
) -> None:
    bundle, output = make_bundle(), tmp_path / "vectors"
    here.deaths[1] = lambda: None
    embed_on_ray(bundle, photos, output, rows=PART)
    found = embed(bundle, photos, output, rows=PART)
    assert (found.rows, found.rows_now, found.is_complete) == (COUNT, PART, True)


def test_an_answer_that_is_lost_is_not_work_that_is_lost(
    make_bundle: MakeBundle, photos: Path, tmp_path: Path, here: ClusterHere
) -> None:
    """A process that dies after it has written its part; Ray's retries are over, and the part says it."""
    bundle, output = make_bundle(), tmp_path / "vectors"
    here.deaths[3] = lambda: embed(bundle, photos, output, rows=PART, worker=(3, 4))
    found = embed_on_ray(bundle, photos, output, rows=PART)
    assert here.given == [[0, 1, 2, 3]]
    assert (found.rows, found.is_complete, found.unreadable) == (COUNT, True, {})


def test_a_shard_whose_processes_die_is_told_and_the_others_are_done(
    make_bundle: MakeBundle, photos: Path, tmp_path: Path, here: ClusterHere
) -> None:
    here.deaths[2] = lambda: None
    found = embed_on_ray(make_bundle(), photos, tmp_path / "vectors", rows=PART)
    assert here.given == [[0, 1, 2, 3], [2]]
    assert (found.done, found.rows) == (3, COUNT - PART)
    [error] = found.unreadable.values()
    assert f"died, {MOST_DEATHS + 1} one after the other" in str(error)


def test_an_output_that_is_not_shared_is_refused(
    make_bundle: MakeBundle, photos: Path, tmp_path: Path, here: ClusterHere
) -> None:
    """What the workers say they wrote is not here."""
    output = tmp_path / "vectors"

    def lose(found: Embedded) -> None:
        for part in output.glob("*.parquet"):
            part.unlink()

    with pytest.raises(InputError, match="all machines of the cluster share"):
        embed_on_ray(make_bundle(), photos, output, rows=PART, report=lose)


def test_a_machine_with_another_engine_is_refused(
    make_bundle: MakeBundle, photos: Path, tmp_path: Path, here: ClusterHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = Engine.describe
    version = iter(["2026.3", *["2026.4"] * 9])
    monkeypatch.setattr(Engine, "describe", lambda self: {**described(self), "version": next(version)})
    with pytest.raises(InputError, match=r"this machine would compute something else: .*2026\.4.*2026\.3"):
        embed_on_ray(make_bundle(), photos, tmp_path / "vectors", rows=PART)


def test_an_error_of_a_worker_is_the_error_of_the_job(
    make_bundle: MakeBundle, photos: Path, tmp_path: Path, here: ClusterHere
) -> None:
    with pytest.raises(InputError, match="unknown backend"):
        embed_on_ray(make_bundle(), photos, tmp_path / "vectors", rows=PART, backend="openvin")


def test_rows_that_failed_are_tried_again(
    make_bundle: MakeBundle, photos: Path, tmp_path: Path, here: ClusterHere
) -> None:
    bundle, output = make_bundle(), tmp_path / "vectors"
    (photos / "3.png").write_bytes(b"no image")
    assert embed_on_ray(bundle, photos, output, rows=PART).failed == 1
    (photos / "3.png").write_bytes(png(3))
    assert embed_on_ray(bundle, photos, output, rows=PART).failed == 1
    found = embed_on_ray(bundle, photos, output, rows=PART, retry_failed=True)
    assert (found.failed, found.rows, found.rows_now) == (0, COUNT, 1)


def test_a_worker_of_its_own_and_ray_exclude_each_other(
    make_bundle: MakeBundle, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*map(str, (make_bundle(), photos)), "-o", str(tmp_path / "v"), "--worker", "0/2", "--ray"]) == 2
    assert "Ray gives out the parts by itself" in capsys.readouterr().err


def test_what_ray_prints_is_no_part_of_the_result(
    make_bundle: MakeBundle, photos: Path, tmp_path: Path, here: ClusterHere, capsys: pytest.CaptureFixture[str]
) -> None:
    here.deaths[1] = lambda: sys.stdout.write("(raylet) A worker died\n")
    words = [*map(str, (make_bundle(), photos)), "-o", str(tmp_path / "vectors"), "--rows", str(PART), "--json"]
    assert main([*words, "--ray"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["parts"] == {"all": 4, "done": 3, "elsewhere": 0}
    assert err.count("(raylet) A worker died") == 2


def test_without_ray_the_extra_is_named(
    make_bundle: MakeBundle, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingError, match=r"hamsa-runtime\[ray\]"):
        embed_on_ray(make_bundle(), photos, tmp_path / "vectors")


@contextlib.contextmanager
def real_cluster() -> Iterator[None]:
    """Of this machine, kept for a test: hamsa_runtime.ray uses the connection that is there."""
    ray = pytest.importorskip("ray", reason="needs Ray: hamsa-runtime[ray]")
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        yield
    finally:
        ray.shutdown()


@pytest.mark.slow
def test_on_a_real_cluster_with_a_process_killed(make_bundle: MakeBundle, photos: Path, tmp_path: Path) -> None:
    """Begun here, gone on with there while an actor is killed, and finished here; the same by Embedder."""
    bundle, output = make_bundle(), tmp_path / "vectors"
    for i in range(COUNT, 60):
        (photos / f"{i}.png").write_bytes(png(i))
    embed(bundle, photos, output, rows=PART, worker=(1, 3), threads=1)
    killed: list[int] = []

    def kill(found: Embedded) -> None:
        if not killed:
            [pid, *_] = actors()
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    with real_cluster():
        found = embed_on_ray(bundle, photos, output, rows=PART, report=kill)
        assert (found.rows, found.is_complete, len(killed)) == (60, True, 1)
        import ray

        files = ray.data.read_binary_files(str(photos), include_paths=True)
        pool = ray.data.ActorPoolStrategy(size=2)
        rows = files.map_batches(Embedder, fn_constructor_kwargs={"bundle": str(bundle)}, compute=pool).take_all()
    stored = {row["id"]: row["embedding"] for row in rows_in(output)}
    assert len(rows) == len(stored) == 60
    for row in rows:
        np.testing.assert_allclose(row["embedding"], stored[Path(row["path"]).name], rtol=1e-6)
    assert embed(bundle, photos, output, rows=PART).rows_now == 0


def actors() -> list[int]:
    """Of this user's clusters, by the titles that Ray gives to its processes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes().startswith(b"ray::MapWorker"):
                found.append(int(path.parent.name))
    return found
