"""The parts of the output: written beside their name, synced, renamed; and what their footers say of them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from hamsa_runtime.embed.sources import UNREADABLE
from hamsa_runtime.embed.vectors import FAILED
from hamsa_runtime.whole_files import replacement

# Of a row group, which the writer holds in memory, and a reader too: rows, or bytes of vectors.
GROUP_ROWS, GROUP_BYTES = 16384, 32 << 20
KEY = b"hamsa"


class Counted(NamedTuple):
    """Rows of a part, and those of them that failed."""

    rows: int
    failed: int


class PartWriter:
    """Takes the rows of one shard, in order; a row group is written when it is full."""

    def __init__(self, file: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._writer = pq.ParquetWriter(
            file, schema, use_dictionary=["status", "label"], write_page_checksum=True, write_statistics=False
        )
        self._waiting: list[pa.RecordBatch] = []
        self.rows = self.failed = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Some more rows."""
        self._waiting.append(batch)
        self.rows += batch.num_rows
        self.failed += batch.column("status").to_pylist().count(FAILED)
        if sum(each.num_rows for each in self._waiting) >= GROUP_ROWS or self._bytes() >= GROUP_BYTES:
            self._write()

    def close(self, facts: Mapping[str, Any]) -> Counted:
        """Writes what is left, and the footer."""
        if self._waiting:
            self._write()
        document = {**facts, "rows": self.rows, "failed": self.failed}
        self._writer.add_key_value_metadata({KEY: json.dumps(document).encode()})
        self._writer.close()
        return Counted(self.rows, self.failed)

    def abandon(self) -> None:
        """Closes the file, which is to be removed."""
        with contextlib.suppress(*UNREADABLE):
            self._writer.close()

    def _bytes(self) -> int:
        return sum(each.nbytes for each in self._waiting)

    def _write(self) -> None:
        table = pa.Table.from_batches(self._waiting, self._schema)
        self._waiting = []
        self._writer.write_table(table, row_group_size=table.num_rows)


@contextlib.contextmanager
def part_writer(path: Path, schema: pa.Schema) -> Iterator[PartWriter]:
    """A writer of the part at a path, which is there when the block ends, if `close` was called."""
    with replacement(path) as temporary:
        writer = PartWriter(temporary, schema)
        try:
            yield writer
        except BaseException:
            writer.abandon()
            raise


def counted(path: Path) -> Counted | None:
    """What the footer of a part says; None of one that is damaged, or of somebody else's."""
    try:
        metadata = pq.read_metadata(path)
        found = json.loads((metadata.metadata or {})[KEY])
        count = Counted(int(found["rows"]), int(found["failed"]))
    except (*UNREADABLE, ValueError, KeyError, TypeError):
        return None
    return count if count.rows == metadata.num_rows else None
