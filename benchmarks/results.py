"""The page of all results, README.md, from the JSON files in a folder; and the table of speed in the root's README.md.

python benchmarks/hamsa_s.py --json docs/results/hamsa_s.json
python benchmarks/results.py [FOLDER]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import NamedTuple

from tables import Record, markdown, origin

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "results"
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

# Around the table of speed in the toolkit's README.
BEGIN, END = "<!-- speed: python benchmarks/results.py -->\n\n", "\n<!-- end of speed -->\n"


class Line(NamedTuple):
    """A line of the table of speed: where its ratios are, and of which rows for the engines, as many as were timed."""

    words: str
    file: str
    table: str
    column: str
    rows: tuple[str, ...]
    inverse: bool = False


ONE = "224 pixels, batch 1"
LONG = "Forward: n_fft 1024, hop 256, 32000 samples, batch 16"
OURS = ("HAMSA-S, ONNX Runtime", "HAMSA-S, OpenVINO f32", "HAMSA-S, OpenVINO bf16")
DFT = ("HAMSA-S, DFT operator, ONNX Runtime", "HAMSA-S, DFT operator, OpenVINO f32")
DEIT_S = tuple(f"DeiT-S, {engine} / HAMSA-S, {engine}" for engine in ("ONNX Runtime", "OpenVINO f32", "OpenVINO bf16"))
LINES = (
    Line("HAMSA-S, of PyTorch's time", "hamsa_s", ONE, "of eager", OURS),
    Line("its transforms left as operators `DFT`", "hamsa_s", ONE, "of eager", DFT),
    Line("HAMSA-S, of the time of DeiT-S there", "hamsa_s", "224 pixels: goals", "found", DEIT_S, inverse=True),
    Line("Vim-S, of the time of DeiT-S there", "vim", ONE, "of DeiT-S", ("Vim-S, ONNX Runtime", "Vim-S, OpenVINO f32")),
    Line("`torch.stft` alone, of PyTorch's time", "short_time", LONG, "of the first", ("stft, onnx", "stft, openvino")),
    Line("left as operator `STFT`", "short_time", LONG, "of the first", ("STFT operator, onnx",)),
)


def page(folder: Path) -> str:
    """Markdown, with a section for each file."""
    files = sorted(folder.glob("*.json"))
    return "\n".join([HEAD, *(_section(file.stem, _record(file)) for file in files)])


def speed(folder: Path) -> str:
    """The table of speed: medians of ratios, and where they were measured."""
    body = [[line.words, *(f"{_median(folder, line, row):.2f}" for row in line.rows)] for line in LINES]
    rows = ["| " + " | ".join([*cells, *[""] * (4 - len(cells))]) + " |" for cells in body]
    files = [folder / f"{name}.json" for name in sorted({line.file for line in LINES})]
    head = ["| batch 1; less is faster | ONNX Runtime | OpenVINO fp32 | OpenVINO bf16 |", "|---|---:|---:|---:|"]
    return "\n".join([*head, *rows, "", _where(files), ""])


def _section(name: str, record: Record) -> str:
    tables = [markdown(table) for table in record["tables"]]
    return "\n\n".join([f"## {name}", f"    {record['command']}", origin(record), *tables]) + "\n"


def _record(file: Path) -> Record:
    found: Record = json.loads(file.read_text("utf-8"))
    return found


def _median(folder: Path, line: Line, row: str) -> float:
    [table] = [each for each in _record(folder / f"{line.file}.json")["tables"] if each["title"] == line.table]
    [cells] = [each for each in table["rows"] if each[0] == row]
    cell = cells[list(table["columns"]).index(line.column)]
    assert isinstance(cell, dict)
    return 1 / cell["median"] if line.inverse else cell["median"]


def _where(files: list[Path]) -> str:
    records = [_record(file) for file in files]
    processors = ", ".join(sorted({record["processor"] for record in records}))
    loads = ", ".join(f"{record['load']:g}" for record in records)
    return f"Medians of ratios, measured on: {processors}; load of the machine at the start: {loads}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, metavar="FOLDER")
    folder = parser.parse_args().folder
    (folder / "README.md").write_text(page(folder), encoding="utf-8")
    if folder.resolve() == FOLDER:
        readme = ROOT / "README.md"
        before, _, rest = readme.read_text("utf-8").partition(BEGIN)
        readme.write_text(f"{before}{BEGIN}{speed(folder)}{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
