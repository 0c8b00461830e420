"""`embed(bundle, input, output)`: a folder, a list or a table of images or clips to Parquet parts of vectors.

    input ──▶ shards of rows (id, payload) ──decoding pool──▶ blocks ──engine──▶ parts, one for each shard

Every row of the input is in the output exactly once, whatever is killed in between, because a shard has one part, of a
name that the shard and the job's fingerprint give, and a part is there as a whole or not at all.
"""

from hamsa_runtime.errors import MissingError

try:
    import pyarrow  # noqa: F401  # all of this package needs it: said here, once
except ImportError as error:
    raise MissingError(
        f"the package pyarrow cannot be imported: {error}",
        expected="what reads and writes Parquet files",
        fix="pip install 'hamsa-runtime[embed]'",
    ) from error

from hamsa_runtime.embed.run import Embedded, embed
from hamsa_runtime.embed.verify import Verified, verify

__all__ = ["Embedded", "Verified", "embed", "verify"]
