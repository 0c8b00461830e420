"""Rows that failed, tried again: a part is read beside its shard, in the same order, and what was good stays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hamsa_runtime.embed.sources import UNREADABLE, UnreadableError, unreadable
from hamsa_runtime.embed.vectors import OK

ROWS = 4096


class OldPart:
    """A part as it is, read from its start to its end. A context manager."""

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, pq.ParquetFile(path, page_checksum_verification=True)
        self._batches = self._file.iter_batches(batch_size=ROWS)
        self._left: pa.Table = self._file.schema_arrow.empty_table()

    def __enter__(self) -> OldPart:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def with_new(self, new: pa.RecordBatch, is_kept: Sequence[bool]) -> pa.RecordBatch:
        """The next rows, as many as there are new ones, which take the place of those that are not kept.

        Raises:
            UnreadableError: their ids are others: the input has changed.
        """
        old, count = self._next(new.num_rows), new.num_rows
        if old.column("id").to_pylist() != new.column("id").to_pylist():
            raise self._changed()
        if not count:
            return new
        order = np.arange(count) + np.where(np.asarray(is_kept, bool), 0, count)
        both = pa.concat_tables([old, pa.Table.from_batches([new], old.schema)])
        return both.take(pa.array(order)).combine_chunks().to_batches()[0]

    def check_end(self) -> None:
        """Raises UnreadableError if there are more rows: the input has changed."""
        if self._next(1).num_rows:
            raise self._changed()

    def _changed(self) -> UnreadableError:
        return UnreadableError(
            f"{self._path}: rows of other ids than the input has now",
            expected="the input as it was when the part was made",
            fix="another folder for the output",
        )

    def _next(self, count: int) -> pa.Table:
        table = self._left
        try:
            while table.num_rows < count and (batch := next(self._batches, None)) is not None:
                table = pa.concat_tables([table, pa.Table.from_batches([batch], table.schema)])
        except UNREADABLE as error:
            raise unreadable(self._path, error) from error
        self._left = table.slice(count)
        return table.slice(0, count)


def kept_rows(path: Path) -> np.ndarray:
    """Of each row of a part, whether it is good: (rows,) of bool, a byte for each.

    Raises:
        UnreadableError: the part is damaged.
    """
    try:
        with pq.ParquetFile(path) as file:
            found = [np.zeros(0, bool)]
            for batch in file.iter_batches(batch_size=ROWS, columns=["status"]):
                found.append(np.array([each == OK for each in batch.column(0).to_pylist()], bool))
            return np.concatenate(found)
    except UNREADABLE as error:
        raise unreadable(path, error) from error
