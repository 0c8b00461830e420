"""A folder of seven small images, and the same images as other inputs."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from ..tiny_bundles import CHANNELS, SIZE

COUNT = 7
NAMES = ["0.png", "2.png", "4.png", "6.png", "a b/1.png", "a b/3.png", "a b/5.png"]


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (*SIZE, CHANNELS), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def rows_in(output: Path) -> list[dict[str, Any]]:
    return pq.read_table(output).to_pylist()


def list_of(photos: Path) -> Path:
    """Beside the folder; paths in it are relative to it."""
    path = photos.parent / "paths.txt"
    path.write_text("".join(f"photos/{name}\r\n" for name in NAMES) + "\n")
    return path


def table_of_paths(photos: Path) -> Path:
    path = photos.parent / "paths.parquet"
    pq.write_table(pa.table({"path": [f"photos/{name}" for name in NAMES]}), path, row_group_size=2)
    return path


def table_of_bytes(photos: Path) -> Path:
    """Two files in a folder; ids are whole numbers."""
    folder = photos.parent / "tables"
    folder.mkdir()
    contents = [(photos / name).read_bytes() for name in NAMES]
    for k, (start, stop) in enumerate([(0, 4), (4, 7)]):
        table = pa.table({"id": list(range(start, stop)), "bytes": contents[start:stop]})
        pq.write_table(table, folder / f"{k}.parquet", row_group_size=3)
    return folder


def tar_of(photos: Path) -> Path:
    path = photos.parent / "000.tar"
    with tarfile.open(path, "w") as archive:
        for name in NAMES:
            archive.add(photos / name, name)
            archive.add(photos / "notes.txt", f"{name[:-4]}.txt")
    return path
