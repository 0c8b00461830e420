"""From turns to tables, with candidates that are not there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import pytest

from hamsa_deploy.bench.benchmark import CONTROL, Table, benchmark, bytes_of, table_of
from hamsa_deploy.bench.candidates import Candidate
from hamsa_deploy.bench.loading import Load
from hamsa_deploy.bench.percentiles import FASTER, UNCLEAR
from hamsa_deploy.measure.interleaved import FEWEST_ROUNDS, Run, Turn

from ..runtime.tiny_bundles import MakeBundle


class Journal:
    """Candidates that write down what is done with them."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, int, int | None]] = []
        self.closed: list[str] = []

    def candidate(self, name: str) -> Candidate:
        @contextlib.contextmanager
        def opened(batch: int, threads: int | None) -> Iterator[Run]:
            self.opened.append((name, batch, threads))
            yield lambda: None
            self.closed.append(name)

        return Candidate(name, "none", "fp32", opened)


def table(times: dict[str, Sequence[float]], joules: float | None = None) -> Table:
    journal = Journal()
    names = [name for name in times if name != CONTROL]
    turns = {name: [Turn((t, 2 * t, t), joules) for t in each] for name, each in times.items()}
    loads = {names[0]: Load(0.1, 0.2, 300)}
    return table_of([journal.candidate(name) for name in names], 4, 2, turns, loads)


def test_ratios_latency_and_throughput_of_given_turns() -> None:
    found = table({"a": [0.1] * 5, "b": [0.05] * 5, CONTROL: [0.101] * 5})
    first, second = found.rows
    assert (first.ratio, first.verdict) == (None, None)
    assert second.ratio is not None
    assert second.ratio.median == pytest.approx(0.5)
    assert second.verdict == FASTER
    assert first.latency["p50"] == pytest.approx(100.0)  # two runs of 100 ms for each of 200
    assert first.runs == 15
    assert first.images_per_second == pytest.approx(4 * 15 / 2.0)
    assert found.control.median == pytest.approx(1.01)
    assert (found.batch, found.threads, found.rounds) == (4, 2, 5)


def test_a_difference_below_the_control_is_not_told() -> None:
    found = table({"a": [0.1] * 5, "b": [0.098] * 5, CONTROL: [0.105] * 5})
    assert found.rows[1].verdict == UNCLEAR


def test_loads_belong_to_their_candidates() -> None:
    first, second = table({"a": [0.1] * 5, "b": [0.1] * 5, CONTROL: [0.1] * 5}).rows
    assert first.load == Load(0.1, 0.2, 300)
    assert second.load is None


def test_energy_is_that_of_the_turns_shared_by_their_images() -> None:
    row = table({"a": [0.1] * 5, CONTROL: [0.1] * 5}, joules=4.0).rows[0]
    assert row.joules_per_image == pytest.approx(5 * 4.0 / (15 * 4))  # 5 turns, 15 runs of 4 images
    assert table({"a": [0.1] * 5, CONTROL: [0.1] * 5}).rows[0].joules_per_image is None


def test_the_first_candidate_takes_part_twice_and_all_are_closed() -> None:
    journal = Journal()
    found = benchmark([journal.candidate("a"), journal.candidate("b")], 2, 1, seconds=1e-3, turn_seconds=0.0)
    assert journal.opened == [("a", 2, 1), ("b", 2, 1), ("a", 2, 1)]
    assert sorted(journal.closed) == ["a", "a", "b"]
    assert [row.name for row in found.rows] == ["a", "b"]
    assert found.rounds >= FEWEST_ROUNDS


def test_size_is_that_of_all_files_of_a_bundle(tiny_bundle: MakeBundle) -> None:
    folder = tiny_bundle("tiny", "openvino")
    assert {path.name for path in folder.iterdir()} == {"model.xml", "model.bin", "manifest.json"}
    assert bytes_of(folder) == sum(path.stat().st_size for path in folder.iterdir())
