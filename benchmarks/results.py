"""The page of all results, README.md, from the JSON files in a folder.

python benchmarks/hamsa_s.py --json docs/results/hamsa_s.json
python benchmarks/results.py [FOLDER]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tables import Record, markdown, origin

FOLDER = Path(__file__).parents[1] / "docs" / "results"
HEAD = """\
# Results

What the scripts in [benchmarks](../../benchmarks) have measured: `python benchmarks/results.py` makes this page of the
JSON files beside it, and nothing here is written by hand. `make bench` measures all that needs neither a GPU nor a
network, and makes the page anew; `make bench RESULTS=out/results` leaves these files as they are.

A measured time, and a ratio of two, is the median over the rounds, with the quartiles in brackets. In a round all
candidates take their turn; a ratio is that of the two times in one round. Load is how many processes wanted to run when
a script began: where it is more than a few tenths, the machine was busy with something else, ratios mean more than
milliseconds, and wide quartiles mean what they say.
"""


def page(folder: Path) -> str:
    """Markdown, with a section for each file."""
    files = sorted(folder.glob("*.json"))
    return "\n".join([HEAD, *(_section(file.stem, json.loads(file.read_text("utf-8"))) for file in files)])


def _section(name: str, record: Record) -> str:
    tables = [markdown(table) for table in record["tables"]]
    return "\n\n".join([f"## {name}", f"    {record['command']}", origin(record), *tables]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, metavar="FOLDER")
    folder = parser.parse_args().folder
    (folder / "README.md").write_text(page(folder), encoding="utf-8")


if __name__ == "__main__":
    main()
