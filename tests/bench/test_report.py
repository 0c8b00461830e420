"""A benchmark as JSON and CSV, and back."""

from __future__ import annotations

import csv
import json

from hamsa_deploy.bench.benchmark import Row, Table
from hamsa_deploy.bench.loading import Load
from hamsa_deploy.bench.percentiles import FASTER, Ratio
from hamsa_deploy.bench.report import csv_text, document, tables_from

LATENCY = {"p50": 1.5, "p90": 2.5, "p99": None}
TABLE = Table(
    batch=8,
    threads=None,
    rounds=5,
    control=Ratio(1.0, 0.96, 1.03),
    rows=(
        Row("first", "OpenVINO", "fp32", 12, LATENCY, 666.7, None, None, Load(0.1, 0.25, 86_000_000), 1_400_000, 0.25),
        Row("peer eager", "PyTorch", "fp32", 9, LATENCY, 99.0, Ratio(0.5, 0.4, 0.6), FASTER, None, None, None),
    ),
)


def test_json_holds_everything_and_gives_the_tables_back() -> None:
    report = document([TABLE], "RAPL, package-0", ["a note"])
    read = json.loads(json.dumps(report, allow_nan=False))
    assert tables_from(read) == [TABLE]
    assert (read["energy"], read["notes"]) == ("RAPL, package-0", ["a note"])
    assert read["machine"]["processor"]
    assert "numpy" not in read["versions"]
    assert read["versions"]["onnxruntime"]


def test_csv_has_a_line_for_each_candidate_and_leaves_unknown_cells_empty() -> None:
    first, eager = csv.DictReader(csv_text([TABLE, TABLE]).splitlines()[:3])
    assert (first["bundle"], first["ratio"], first["ratio_q1"], first["verdict"]) == ("first", "1", "", "")
    assert (first["load_ms"], first["first_result_ms"], first["memory_bytes"]) == ("100", "250", "86000000")
    assert (first["threads"], first["p99_ms"], first["joules_per_image"]) == ("", "", "0.25")
    assert (eager["ratio"], eager["ratio_q1"], eager["ratio_q3"], eager["verdict"]) == ("0.5", "0.4", "0.6", FASTER)
    assert (eager["load_ms"], eager["size_bytes"], eager["joules_per_image"]) == ("", "", "")
    assert len(csv_text([TABLE, TABLE]).splitlines()) == 5
