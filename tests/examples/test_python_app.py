"""The image search, run as its README says, on the held-out digits."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from hamsa_runtime import Engine

from ..report.browser import opened
from .conftest import EXAMPLES

pytest.importorskip("faiss", reason="the image search needs faiss-cpu")

APP = EXAMPLES / "python_app"


@pytest.fixture(scope="module", autouse=True)
def program() -> Iterator[None]:
    """The folder of the program is where Python looks for its modules, as when it is started."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(APP))
        yield


TOP = 6  # the image itself, and its five neighbours


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def search(*words: object) -> Done:
    """The program, in this process: a start takes longer than what it does here."""
    from search import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(map(str, words)))
    return Done(code, out.getvalue(), err.getvalue())


def indexed(*words: object) -> str:
    done = search("index", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def found(*words: object) -> list[tuple[float, Path]]:
    done = search("query", *words)
    assert done.returncode == 0, done.stderr
    return [(float(line.split()[0]), Path(line.split()[1])) for line in done.stdout.splitlines()]


def refusal(*words: object) -> str:
    done = search(*words)
    assert done.returncode == 2, done.stdout + done.stderr
    return done.stderr


def state(index: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in index.iterdir()}


@pytest.fixture(scope="module")
def digit_index(bundle: Path, digit_files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    index = tmp_path_factory.mktemp("search") / "index"
    assert "360 embedded, 0 as they were, 0 gone, 0 skipped" in indexed(bundle, digit_files[0].parents[1], "-o", index)
    return index


@pytest.fixture
def few(digit_files: list[Path], tmp_path: Path) -> Path:
    """A folder with four digits: 0.png to 3.png."""
    folder = tmp_path / "few"
    folder.mkdir()
    for number, path in enumerate(digit_files[:4]):
        shutil.copy(path, folder / f"{number}.png")
    return folder


def test_an_image_is_its_own_nearest_neighbour(digit_index: Path, digit_files: list[Path]) -> None:
    image = digit_files[7]
    (first, path), *others = found(digit_index, image, "--top", TOP)
    assert (first, path) == (1.0, image)
    assert len(others) == TOP - 1
    assert [similarity for similarity, _ in others] == sorted((each for each, _ in others), reverse=True)


def test_the_neighbours_of_a_digit_are_mostly_the_same_digit(
    bundle: Path, digit_index: Path, digit_files: list[Path]
) -> None:
    """1798 of 1800, the five nearest of each of the 360, have its class. Rounding differs from processor to processor
    and may swap neighbours that are equally near: 99 % leaves it 16."""
    from image_index import ImageIndex

    index = ImageIndex.load(digit_index)
    with Engine(bundle, threads=1) as engine:
        vectors = engine.embed(digit_files)
    ranked = [[path for _, path in index.nearest(vector, TOP)] for vector in vectors]
    assert [paths[0] for paths in ranked] == digit_files
    same = [path.parent == image.parent for image, paths in zip(digit_files, ranked, strict=True) for path in paths[1:]]
    assert sum(same) / len(same) >= 0.99


def test_only_what_is_new_or_changed_is_embedded(
    bundle: Path, few: Path, digit_files: list[Path], tmp_path: Path
) -> None:
    index = tmp_path / "index"
    indexed(bundle, few, "-o", index)
    assert "0 embedded, 4 as they were, 0 gone" in indexed(bundle, few, "-o", index)
    os.utime(few / "0.png")
    shutil.copy(digit_files[5], few / "1.png")
    shutil.copy(digit_files[6], few / "new.png")
    (few / "3.png").unlink()
    assert "2 embedded, 2 as they were, 1 gone" in indexed(bundle, few, "-o", index)
    assert found(index, digit_files[5], "--top", 1) == [(1.0, few / "1.png")]
    assert {path.name for _, path in found(index, digit_files[0], "--top", 9)} == {"0.png", "1.png", "2.png", "new.png"}
    assert len(list(index.iterdir())) == 2


def test_a_second_folder_is_added_to_the_first(
    bundle: Path, few: Path, digit_files: list[Path], tmp_path: Path
) -> None:
    index, other = tmp_path / "index", tmp_path / "other"
    other.mkdir()
    shutil.copy(digit_files[9], other / "9.png")
    indexed(bundle, few, "-o", index)
    assert "1 embedded, 0 as they were, 0 gone" in indexed(bundle, other, "-o", index)
    assert {path.parent for _, path in found(index, digit_files[9], "--top", 5)} == {few, other}


def test_images_that_cannot_be_read_are_listed_and_skipped(bundle: Path, few: Path, tmp_path: Path) -> None:
    (few / "1.png").write_bytes((few / "1.png").read_bytes()[:60])
    (few / "2.png").write_bytes(b"SIMPLE  =                    T")
    done = search("index", bundle, few, "-o", tmp_path / "index")
    assert done.returncode == 0
    assert "2 embedded, 0 as they were, 0 gone, 2 skipped" in done.stdout
    assert [line.split()[1] for line in done.stderr.splitlines()] == [f"{few / '1.png'}:", f"{few / '2.png'}:"]


def test_without_an_image_that_can_be_read_there_is_no_index(bundle: Path, few: Path, tmp_path: Path) -> None:
    for path in few.iterdir():
        path.write_bytes(b"not an image")
    index = tmp_path / "index"
    assert "none of 4 images can be read" in refusal("index", bundle, few, "-o", index)
    assert not index.exists()
    (tmp_path / "empty").mkdir()
    assert "no images" in refusal("index", bundle, tmp_path / "empty", "-o", index)


def test_an_index_is_of_one_bundle(bundle: Path, few: Path, tmp_path: Path) -> None:
    index, other = tmp_path / "index", tmp_path / "other"
    indexed(bundle, few, "-o", index)
    before = state(index)
    shutil.copytree(bundle, other)
    manifest = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps({**manifest, "name": "another"}))
    for words in (["index", other, few, "-o", index], ["query", index, few / "0.png", "--bundle", other]):
        message = refusal(*words)
        assert "an index of another bundle: hamsa_nano (manifest " in message
        assert "this is another (manifest " in message
    assert state(index) == before
    assert "no such bundle" in refusal("query", index, few / "0.png", "--bundle", tmp_path / "moved")


@pytest.mark.parametrize("name", ["index.json", "vectors-*.faiss"])
def test_a_damaged_index_is_not_read(bundle: Path, few: Path, tmp_path: Path, name: str) -> None:
    index = tmp_path / "index"
    indexed(bundle, few, "-o", index)
    [path] = index.glob(name)
    path.write_bytes(path.read_bytes()[:-9])
    assert "the index cannot be read" in refusal("query", index, few / "0.png")


def test_a_write_that_fails_leaves_the_old_index(
    monkeypatch: pytest.MonkeyPatch, digit_index: Path, tmp_path: Path
) -> None:
    from image_index import ImageIndex

    shutil.copytree(digit_index, tmp_path / "index")
    before = state(tmp_path / "index")
    index = ImageIndex.load(tmp_path / "index")
    index.remove(Path(next(iter(index.entries))))

    def full(path: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        index.save(tmp_path / "index")
    assert state(tmp_path / "index") == before


def test_one_process_writes_at_a_time(monkeypatch: pytest.MonkeyPatch, bundle: Path, few: Path, tmp_path: Path) -> None:
    from image_index import writing

    with writing(tmp_path / "index"):
        assert "another process is writing this index" in refusal("index", bundle, few, "-o", tmp_path / "index")


def test_the_page_shows_the_images_that_were_found(digit_index: Path, digit_files: list[Path], tmp_path: Path) -> None:
    page = tmp_path / "nearest.html"
    images = found(digit_index, digit_files[7], "--top", TOP, "--page", page)
    dom = opened(page, tmp_path / "profile")
    assert dom.count("<li>") == len(images) == TOP
    assert [dom.index(f'title="{path}"') for _, path in images] == sorted(
        dom.index(f'title="{path}"') for _, path in images
    )
    assert dom.count('src="data:image/png;base64,') == TOP + 1
    assert "http" not in dom


@pytest.fixture(scope="module")
def embedded(bundle: Path, digit_files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits and one file that is no image, by hamsa-embed, in four parts."""
    pytest.importorskip("pyarrow", reason="hamsa-embed needs pyarrow")
    from hamsa_runtime.embed import embed

    folder = tmp_path_factory.mktemp("embedded")
    shutil.copytree(digit_files[0].parents[1], folder / "digits")
    (folder / "digits" / "broken.png").write_bytes(b"not an image")
    found = embed(bundle, folder / "digits", folder / "vectors", rows=100)
    assert (found.rows, found.failed, found.done) == (361, 1, 4)
    return folder / "vectors"


def test_what_hamsa_embed_wrote_is_searched_as_an_index_is(
    bundle: Path, digit_index: Path, embedded: Path, digit_files: list[Path]
) -> None:
    image = digit_files[7]
    ours = found(embedded, image, "--top", TOP, "--bundle", bundle)
    theirs = found(digit_index, image, "--top", TOP)
    assert [value for value, _ in ours] == pytest.approx([value for value, _ in theirs], abs=2e-4)  # printed with four
    root = embedded.parent / "digits"
    assert ours[0][1] == root / image.parent.name / image.name
    assert all(path.is_file() for _, path in ours)


def test_shorter_vectors_are_compared_by_their_first_numbers(
    bundle: Path, embedded: Path, digit_files: list[Path]
) -> None:
    from embedded import Embedded

    short = Embedded(embedded, 16)
    with Engine(bundle, threads=1) as engine:
        [one, other] = engine.embed(digit_files[:2])[:, :16]
    by_path = {path.name: value for value, path in short.nearest(one, len(short))}
    cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    assert by_path[digit_files[0].name] == pytest.approx(1, abs=1e-5)
    assert by_path[digit_files[1].name] == pytest.approx(cosine, abs=1e-5)
    assert "a size of 65" in refusal("query", embedded, digit_files[0], "--size", 65, "--bundle", bundle)


def test_recall_is_the_part_of_the_nearest_that_shorter_vectors_find(embedded: Path) -> None:
    """Against a count by hand; the order of what is equally near may differ, by one in a thousand at most."""
    from embedded import recalls, rows_of

    vectors = np.concatenate([each for _, each in rows_of(embedded)])

    def nearest(size: int) -> list[set[int]]:
        unit = vectors[:, :size] / np.linalg.norm(vectors[:, :size], axis=1, keepdims=True)
        similar = unit @ unit.T
        np.fill_diagonal(similar, -2)
        return [set(row) for row in np.argsort(-similar, axis=1)[:, :10].tolist()]

    whole = nearest(64)
    found = dict(recalls(embedded, 1000))
    assert list(found) == [64, 32, 16, 8]
    assert found[64] == 1
    for size in (32, 8):
        by_hand = np.mean([len(a & b) / 10 for a, b in zip(nearest(size), whole, strict=True)])
        assert found[size] == pytest.approx(by_hand, abs=1e-3)
    assert found[32] > found[8]


def test_what_hamsa_embed_wrote_says_what_it_lacks(
    bundle: Path, digit_index: Path, embedded: Path, digit_files: list[Path], tmp_path: Path
) -> None:
    assert "--bundle says it" in refusal("query", embedded, digit_files[0])
    assert "is not what hamsa-embed wrote" in refusal("query", digit_index, digit_files[0], "--size", 16)
    (tmp_path / "_hamsa").mkdir()
    shutil.copy(embedded / "_hamsa/job.json", tmp_path / "_hamsa")
    assert "no vectors" in refusal("recall", tmp_path)


def test_a_page_escapes_names_and_says_what_is_no_picture(digit_files: list[Path], tmp_path: Path) -> None:
    from page import page_of

    odd = tmp_path / "<b>&.png"
    odd.write_bytes(b"not an image")
    page = page_of(digit_files[0], [(0.5, odd), (0.25, tmp_path / "gone.png")], "1 < 2")
    assert "&lt;b&gt;&amp;.png" in page
    assert "<b>&" not in page
    assert "1 &lt; 2" in page
    assert "no picture: UnidentifiedImageError" in page
    assert "no picture: FileNotFoundError" in page


def test_it_runs_by_itself_without_torch_and_without_the_exporter(digit_index: Path, digit_files: list[Path]) -> None:
    words = ["search.py", "query", str(digit_index), str(digit_files[0]), "--top", "1"]
    script = f"""
import runpy, sys
sys.argv = {words!r}
try:
    runpy.run_path("search.py", run_name="__main__")
finally:
    print([name for name in ("torch", "hamsa_deploy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=APP, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"1.0000  {digit_files[0]}", "[]"]
