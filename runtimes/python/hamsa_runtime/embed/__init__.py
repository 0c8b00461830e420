"""`embed(bundle, input, output)`: a folder, a list or a table of images or clips to Parquet parts of vectors.

    input ──▶ shards of rows (id, payload) ──decoding pool──▶ blocks ──engine──▶ parts, one for each shard

Every row of the input is in the output exactly once, whatever is killed in between, because a shard has one part, of a
name that the shard and the job's fingerprint give, and a part is there as a whole or not at all.
"""

from hamsa_runtime.errors import MissingError

# All of this package needs pyarrow, which is said here, once. 26 is the first that writes and reads lists of a fixed
# size with a gap, as a row that failed has it.
try:
    import pyarrow

    if int(pyarrow.__version__.partition(".")[0]) < 26:
        raise ImportError(f"it is {pyarrow.__version__}, and can neither write nor read a row without a vector")
except ImportError as error:
    raise MissingError(
        f"the package pyarrow cannot be used: {error}",
        expected="pyarrow 26 or newer, which reads and writes Parquet files",
        fix="pip install 'hamsa-runtime[embed]'",
    ) from error

from hamsa_runtime.embed.run import Embedded, embed
from hamsa_runtime.embed.verify import Verified, verify

__all__ = ["Embedded", "Verified", "embed", "verify"]
