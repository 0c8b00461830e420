"""The benchmarks' tables, the pages that are made of them, and the commands that README.md and docs/ name for them."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ..docs.pages import DOCS, PAGES, ROOT, text_of

RESULTS = DOCS / "results"


def commands_of_the_pages() -> list[list[str]]:
    """As words; what stands in brackets is given, too, and an ellipsis is nothing."""
    found = [each for page in PAGES for each in re.findall(r"`python\s+(benchmarks/\w+\.py[^`]*)`", text_of(page))]
    return [shlex.split(re.sub(r"\[|\]|\.\.\.", "", each)) for each in found]


def recorded_commands() -> list[list[str]]:
    return [shlex.split(json.loads(file.read_text("utf-8"))["command"])[1:] for file in RESULTS.glob("*.json")]


# In one process, which imports the engines once: each command goes as far as its options.
PARSES = """
import argparse, json, runpy, sys
class Parsed(Exception): pass
def parse_args(parser):
    _, unknown = parser.parse_known_args()
    raise Parsed(unknown)
argparse.ArgumentParser.parse_args = parse_args
for words in json.load(sys.stdin):
    sys.argv = words
    sys.path[0] = "benchmarks"
    try:
        runpy.run_path(words[0], run_name="__main__")
    except Parsed as parsed:
        assert not parsed.args[0], (words, parsed)
    except SystemExit as error:
        sys.exit(f"{words}: {error}")
    else:
        sys.exit(f"{words}: no options were read")
"""


def parse(commands: list[list[str]]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PARSES], input=json.dumps(commands), capture_output=True, text=True, cwd=ROOT
    )


def test_every_command_is_one_that_its_script_takes() -> None:
    commands = [*commands_of_the_pages(), *recorded_commands()]
    assert len(commands) > 10
    done = parse(commands)
    assert done.returncode == 0, done.stderr


def test_an_option_that_a_script_has_not_is_found() -> None:
    assert "--rounds" in parse([["benchmarks/soak.py", "BUNDLE", "--rounds", "3"]]).stderr


def test_the_page_is_made_of_the_files(tmp_path: Path) -> None:
    for file in RESULTS.glob("*.json"):
        shutil.copy(file, tmp_path)
    subprocess.run([sys.executable, "benchmarks/results.py", tmp_path], check=True, cwd=ROOT)
    made = (tmp_path / "README.md").read_text("utf-8")
    assert made == (RESULTS / "README.md").read_text("utf-8"), "python benchmarks/results.py makes it anew"


def test_the_table_of_speed_is_made_of_the_files() -> None:
    program = "import sys; sys.path[0] = 'benchmarks'; import results; print(results.speed(results.FOLDER))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=ROOT)
    shown = text_of(ROOT / "README.md").partition("results.py -->\n")[2].partition("<!-- end of speed")[0]
    assert shown.strip() == done.stdout.strip(), "python benchmarks/results.py makes it anew"


SHOWS = """
import sys
sys.path[0] = "benchmarks"
import tables
options, report = tables.begin(tables.parser("", threads=2))
times = [4.0, 1.0, 2.0, 3.0, 5.0]
rows = [["a|b", tables.spread(times), 0.5], ["alone", tables.spread([1.234567]), None]]
report.keep("Two rows", {"": ""}, rows[:1])
report.show("Two rows", {"": "", "ms": ".1f", "share": ".0%"}, iter(rows), note="a note")
report.show("Nothing", {}, [], note="not measured")
report.keep("Unfinished", {"": ""}, [["one"]])
place = tables.ROOT / "made"
report.keep("Unfinished", {"": ""}, [["one"], [tables.without_places(f"{place}/a.py, {sys.prefix}/b, c/d", place)]])
"""
SHOWN = r"""**Two rows**, rounds: 1 to 5

|       |               ms | share |
| ----- | ---------------: | ----: |
| a\|b  | 3.0 (2.0 to 4.0) |   50% |
| alone |              1.2 |       |

a note

**Nothing**

not measured
"""


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any]:
    """What a script prints, and what it keeps."""
    file = tmp_path_factory.mktemp("results") / "new" / "some.json"
    command = [sys.executable, "-c", SHOWS, "--threads", "3", "--json", str(file)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    return printed, json.loads(file.read_text("utf-8"))


def test_what_is_printed(record: tuple[str, Any]) -> None:
    head, table = record[0].strip().split("\n\n", 1)
    assert table == SHOWN.strip()
    assert "threads: 3; python 3." in head


def test_what_is_kept(record: tuple[str, Any]) -> None:
    kept = record[1]
    assert kept["threads"] == 3
    assert kept["versions"].keys() >= {"python", "torch", "onnxruntime", "openvino"}
    first, second, unfinished = kept["tables"]
    assert first["rows"] == [
        ["a|b", {"median": 3.0, "quartiles": [2.0, 4.0], "rounds": 5}, 0.5],
        ["alone", {"median": 1.23457, "quartiles": [1.23457, 1.23457], "rounds": 1}, None],
    ]
    assert second["note"] == "not measured"
    assert unfinished["rows"] == [["one"], ["a.py, b, c/d"]]
