"""--verify: whatever is wrong with an output is found, and nothing with one that is whole."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hamsa_runtime.embed import embed, verify
from hamsa_runtime.embed.parts import KEY
from hamsa_runtime.embed.verify import apart

from ..tiny_bundles import MakeBundle
from .inputs import tar_of

PARITY = {
    "reference": "PyTorch float64",
    "images": 8,
    "metrics": {},
    "thresholds": {"max_relative_error": 5e-5, "cosine": 0.999999},
    "passed": True,
}


@pytest.fixture
def bundle(make_bundle: MakeBundle) -> Path:
    return make_bundle(parity=PARITY)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_an_output_that_is_whole(dtype: str, bundle: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "2.png").write_bytes(b"no image")
    for given in (photos, tar_of(photos)):
        output = tmp_path / f"of {given.name}"
        embed(bundle, given, output, rows=3, dtype=dtype)  # type: ignore[arg-type]
        found = verify(bundle, given, output, rows=3, dtype=dtype)  # type: ignore[arg-type]
        assert (found.wrong, found.rows, found.failed, found.sampled) == ([], 7, 1, 6)
        assert found.limits["cosine"] == 0.999999


def changed(column: str, values: Callable[[list[object]], list[object]]) -> Callable[[Path], None]:
    """A part with other values in a column."""

    def change(part: Path) -> None:
        table = pq.read_table(part)
        place = table.schema.get_field_index(column)
        array = pa.array(values(table[column].to_pylist()), table.schema.field(column).type)
        table = table.set_column(place, table.schema.field(column), array)
        pq.write_table(table.replace_schema_metadata({KEY: pq.read_metadata(part).metadata[KEY]}), part)

    return change


def twice_as_large(part: Path) -> None:
    changed("embedding", lambda rows: [[2 * x + 0.5 for x in row] for row in rows])(part)  # type: ignore[attr-defined]


def one_bit(part: Path) -> None:
    data = bytearray(part.read_bytes())
    data[len(data) // 4] ^= 1
    part.write_bytes(data)


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "a part is lost": (Path.unlink, "part-0000000-[0-9a-f]*.parquet is missing"),
    "half of a part": (lambda part: part.write_bytes(part.read_bytes()[:300]), "is damaged"),
    "a bit of a part": (one_bit, "cannot be read|is damaged"),
    "another id": (changed("id", lambda ids: ["new", *ids[1:]]), "1 ids are missing: '0.png'"),
    "an id of another": (changed("id", lambda ids: [ids[1], *ids[1:]]), "1 ids are twice: '2.png'"),
    "no vector": (changed("embedding", lambda rows: [None, *rows[1:]]), "neither a vector nor an error"),
    "other vectors": (twice_as_large, "embedded again, max_relative_error is"),
    "a copy": (lambda part: shutil.copy(part, part.with_name("copy.parquet")), "no parts of this job: copy.parquet"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(name: str, bundle: Path, photos: Path, tmp_path: Path) -> None:
    harm, words = WRONG[name]
    embed(bundle, photos, tmp_path / "vectors", rows=4)
    harm(min((tmp_path / "vectors").glob("*.parquet")))
    found = verify(bundle, photos, tmp_path / "vectors", rows=4)
    assert re.search(words, "; ".join(found.wrong)), found.wrong


def test_how_far_two_vectors_are_apart() -> None:
    b = np.array([1.0, 2.0, 3.0, 100.0])
    assert apart(b, b) == (0.0, 1.0)
    assert apart(np.array([1.0, 2.975, 3.0, 100.0]), b)[0] == pytest.approx(0.975 / 97.5)
    assert apart(-b, b)[1] == pytest.approx(-1)
    assert apart(np.zeros(4), b)[1] == 0
