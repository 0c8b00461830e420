"""Vectors in a Daft query: a column of paths, or of contents, to a column of vectors and one of reasons.

    $ pip install 'hamsa-runtime[embed,openvino]' daft
    $ python daft_job.py BUNDLE 'photos/**/*.jpg' vectors/

Daft 0.7.26. On a Ray cluster: DAFT_RUNNER=ray, with hamsa-runtime on each machine.
"""

from __future__ import annotations

import sys

import daft
import numpy as np
from daft import DataType

from hamsa_runtime.ray import Embedder

WIDTH = 64  # of hamsa_nano
ROW = DataType.struct({"embedding": DataType.fixed_size_list(DataType.float32(), WIDTH), "error": DataType.string()})


@daft.cls(cpus=1, max_concurrency=2)
class Vectors:
    """One Engine for each of two workers."""

    def __init__(self, bundle: str) -> None:
        self.embedder = Embedder(bundle)

    @daft.method.batch(return_dtype=ROW, unnest=True, batch_size=256)
    def of_files(self, paths: daft.Series) -> list[dict[str, object]]:
        found = self.embedder({"path": np.array(paths.to_pylist(), object)})
        vectors = [None if error else vector for vector, error in zip(found["embedding"], found["error"], strict=True)]
        return [{"embedding": v, "error": e} for v, e in zip(vectors, found["error"], strict=True)]


if __name__ == "__main__":
    bundle, images, output = sys.argv[1:]
    files = daft.from_glob_path(images)
    path = files["path"].replace("file://", "")
    rows = files.select(path.alias("id"), Vectors(bundle).of_files(path))
    rows.write_parquet(output)
    print(daft.read_parquet(output).where(daft.col("error").is_null()).count_rows(), "of", files.count_rows())
