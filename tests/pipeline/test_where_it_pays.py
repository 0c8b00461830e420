"""int8 only where it pays: what is chosen from given times, and that the bundle is what was chosen."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

import hamsa_deploy
from hamsa_deploy.form.request import Request
from hamsa_deploy.pipeline import int8_files
from hamsa_deploy.pipeline.max_drop import Accuracy
from hamsa_deploy.pipeline.where_it_pays import (
    Form,
    Group,
    Kept,
    Times,
    fastest,
    groups_of,
    recorded,
    rounded,
    time_groups,
)
from hamsa_deploy.precision.int8.int8_sites import Site, sites_of
from hamsa_deploy.sweep.cells import matrix, requests_for
from hamsa_deploy.targets import target_of
from hamsa_runtime import Bundle
from hamsa_runtime.errors import InputError
from hamsa_runtime.manifest import Int8Choice, TimedForm

from ..precision.products import classifier_graph


def group(name: str, count: int = 1) -> Group:
    return Group(name, tuple(Site(f"{name}{i}", f"layer {name}{i}", "x", "w", 1) for i in range(count)))


class Stopwatch:
    """A timer: a model of 10 ms in int8, and what each group adds to that in floating point; remembers what it was
    asked. Every other round the machine is twice as slow."""

    def __init__(self, added: Mapping[str, float]) -> None:
        self.added = added
        self.asked: list[list[Kept]] = []

    def __call__(self, candidates: Sequence[Kept]) -> Times[Kept]:
        self.asked.append(list(candidates))
        return {kept: [speed * self.seconds(kept) for speed in (1.0, 2.0, 1.0)] for kept in candidates}

    def seconds(self, kept: Kept) -> float:
        return 10.0 + sum(self.added[name] for name in {node[0] for node in kept})


def paying(groups: Sequence[Group], timer: Stopwatch) -> str:
    return "".join(each.product for each in time_groups(groups, timer) if each.pays)


def test_groups_that_int8_makes_slower_are_left_out() -> None:
    groups = [group(name, 2) for name in "abcde"]
    timer = Stopwatch({"a": 3.0, "b": -0.5, "c": 0.0, "d": -2.0, "e": 0.2})
    assert paying(groups, timer) == "ace"
    assert timer.asked[0] == [(), *(each.nodes for each in groups[:4])]
    assert timer.asked[1] == [(), groups[4].nodes]
    assert timer.asked[2] == [(), ("b0", "b1", "d0", "d1")]


def test_small_losses_count_if_they_are_many() -> None:
    """Each within the noise of one measurement: it is the measurement of all together that decides."""
    groups = [group(name) for name in "abcd"]
    assert paying(groups, Stopwatch({"a": 5.0, "b": -0.1, "c": -0.1, "d": -0.1})) == "a"


class Disturbed(Stopwatch):
    """Of which single groups in floating point look faster than they are."""

    def __call__(self, candidates: Sequence[Kept]) -> Times[Kept]:
        times = super().__call__(candidates)
        if len(self.asked) > 1:
            return times
        return {kept: [0.9 * each for each in some] if len(kept) == 1 else some for kept, some in times.items()}


def test_what_is_not_faster_together_stays_in_int8() -> None:
    assert paying([group("a"), group("b"), group("c")], Disturbed({"a": 0.5, "b": 0.5, "c": 5.0})) == "abc"


def test_where_no_group_pays_none_does() -> None:
    timer = Stopwatch({"a": -1.0, "b": -0.05})
    assert paying([group("a"), group("b")], timer) == ""
    assert len(timer.asked) == 1


def test_all_is_measured_alone_where_all_pays() -> None:
    timer = Stopwatch({"a": 1.0})
    [found] = time_groups([group("a", 3)], timer)
    assert (found.int8_milliseconds, found.float_milliseconds, len(found.layers)) == (10.0, 11.0, 3)
    assert len(timer.asked) == 1


FLOAT32: Form = ("fp32", 0, "fp32")
BFLOAT16: Form = ("bf16", 0, "bf16")
SOME: Form = ("int8", 3, "bf16")
ALL: Form = ("int8", 5, "fp32")
ORDER = [FLOAT32, BFLOAT16, SOME, ALL]


@pytest.mark.parametrize(
    ("milliseconds", "chosen"),
    [
        ([10.0, 5.0, 3.0, 4.0], SOME),
        ([10.0, 5.0, 4.9, 4.9], BFLOAT16),
        ([10.0, 9.8, 9.8, 9.8], FLOAT32),
        ([10.0, 5.0, 4.8, 4.0], ALL),
        ([10.0, 5.0, 4.8, 9.0], SOME),
        ([4.0, 5.0, 6.0, 9.0], FLOAT32),
    ],
)
def test_of_what_is_as_fast_as_the_fastest_the_most_accurate_is_chosen(milliseconds: list[float], chosen: Form) -> None:
    times = {form: [t, 3 * t, t] for form, t in zip(ORDER, milliseconds, strict=True)}
    assert fastest(times, ORDER) == chosen
    rows = recorded(times, ORDER, chosen)
    assert [(row.precision, row.int8_layers, row.around) for row in rows if row.chosen] == [chosen]
    share = rounded(milliseconds[1] / milliseconds[0])
    assert rows[1] == TimedForm(*BFLOAT16, milliseconds[1], share, chosen == BFLOAT16)


def test_what_accuracy_forbids_is_not_chosen() -> None:
    times = {form: [t] for form, t in zip(ORDER, (10.0, 5.0, 6.0, 1.0), strict=True)}
    assert fastest(times, ORDER[:3]) == BFLOAT16


def test_products_of_one_kind_and_size_are_one_group(tmp_path: Path) -> None:
    graph = classifier_graph(tmp_path).graph
    sites = sites_of(graph, "openvino")
    groups = groups_of(graph, sites)
    assert [site for each in groups for site in each.sites if site not in sites] == []
    assert sum(len(each.sites) for each in groups) == len(sites) == 5
    assert {each.product: len(each.sites) for each in groups} == {
        "Conv [batch,3,8,8] x [16,3,2,2] group 1 strides (2, 2)": 1,
        "MatMul [batch,16,16] x [16,16]": 2,
        "MatMul [batch,9,16] x [16,16]": 1,  # of half a spectrum
        "Gemm [batch,16] x [5,16]": 1,
    }


class Mixer(nn.Module):
    """A spectrum between products, of 5 rows before it and of 3 behind: each has a size of its own."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = nn.Linear(8, 16), nn.Linear(16, 8), nn.Linear(8, 16)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.c(torch.fft.fft(self.b(torch.relu(self.a(x))), dim=1).real)
        return y.mean(dim=1)


X = np.random.default_rng(0).standard_normal((12, 5, 8)).astype(np.float32)


def exported(folder: Path, to: str = "onnx", **options: Any) -> Bundle:
    calls = [{"x": each[None]} for each in X]
    return hamsa_deploy.export(
        Mixer().eval(), (torch.from_numpy(X[:2]),), to=to, precision="int8", output=folder, data=X, calibration=calls,
        calibration_method="min-max", passes=(), only_where_it_pays=True, **options,
    )  # fmt: skip


def choice_of(bundle: Bundle) -> Int8Choice:
    assert bundle.manifest.int8_choice is not None
    return bundle.manifest.int8_choice


def chosen_of(bundle: Bundle) -> tuple[str, int]:
    [row] = [each for each in choice_of(bundle).forms if each.chosen]
    return row.precision, row.int8_layers


def quantised_in(folder: Path) -> list[str]:
    """The modules whose products the file has in int8."""
    nodes = onnx.load(folder / "model.onnx").graph.node
    return sorted(node.name[0] for node in nodes if node.op_type == "QuantizeLinear")


def timed_by(monkeypatch: pytest.MonkeyPatch, added: Mapping[str, float]) -> None:
    """Bundles take 10 ms, and what each module in int8 adds to that."""

    def time_bundles(folders: Mapping[Any, Path], inputs: Any, device: str | None) -> dict[Any, list[float]]:
        assert inputs["x"].shape == (1, 5, 8)
        return {key: [10.0 + sum(added[name] for name in quantised_in(each))] for key, each in folders.items()}

    monkeypatch.setattr(int8_files, "time_bundles", time_bundles)


def test_the_bundle_has_in_int8_what_pays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timed_by(monkeypatch, {"a": -1.0, "b": 3.0, "c": -2.0})
    bundle = exported(tmp_path / "b")
    assert quantised_in(bundle.folder) == ["a", "c"]
    assert (bundle.manifest.precision, chosen_of(bundle)) == ("int8", ("int8", 2))
    assert bundle.manifest.calibration is not None
    assert (bundle.manifest.calibration.int8_layers, bundle.manifest.calibration.kept_layers) == (2, ())
    assert [(row.pays, [name[0] for name in row.layers]) for row in choice_of(bundle).layers] == [
        (True, ["a"]), (False, ["b"]), (True, ["c"]),
    ]  # fmt: skip
    assert [(row.precision, row.int8_layers, row.milliseconds) for row in choice_of(bundle).forms] == [
        ("fp32", 0, 10.0), ("int8", 2, 7.0), ("int8", 3, 10.0),
    ]  # fmt: skip
    assert bundle.manifest.execution is not None
    assert bundle.manifest.execution.products["i8"] == 2


@pytest.mark.parametrize("added", [{"a": 1.0, "b": 1.0, "c": 1.0}, {"a": -0.1, "b": 3.0, "c": -0.1}])
def test_where_int8_is_not_faster_the_bundle_is_of_the_best_other_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, added: Mapping[str, float]
) -> None:
    timed_by(monkeypatch, added)
    with caplog.at_level(logging.WARNING, "hamsa_deploy"):
        bundle = exported(tmp_path / "b")
    assert quantised_in(bundle.folder) == []
    assert (bundle.manifest.precision, chosen_of(bundle)) == ("fp32", ("fp32", 0))
    assert (bundle.manifest.calibration, bundle.manifest.execution) == (None, None)
    assert bundle.manifest.parity is not None
    assert bundle.manifest.parity.thresholds["max_relative_error"] == 5e-5
    assert caplog.messages == ["int8 does not pay on this machine: the bundle is in fp32"]


def test_accuracy_and_speed_each_keep_their_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """b is slower in int8; and with more than one of the others the drop is too large."""
    timed_by(monkeypatch, {"a": -2.0, "b": 3.0, "c": -2.0})
    monkeypatch.setattr(Accuracy, "drop", lambda self, bundle: max(0, len(quantised_in(bundle.folder)) - 1))
    bundle = exported(tmp_path / "b", max_drop=0.5)
    assert chosen_of(bundle) == ("int8", 1)
    assert bundle.manifest.calibration is not None
    [kept] = bundle.manifest.calibration.kept_layers
    assert sorted([kept[0], *quantised_in(bundle.folder)]) == ["a", "c"]


def test_where_accuracy_allows_no_int8_there_are_other_precisions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed_by(monkeypatch, {"a": -2.0, "b": -2.0, "c": -2.0})
    monkeypatch.setattr(Accuracy, "drop", lambda self, bundle: float(len(quantised_in(bundle.folder))))
    bundle = exported(tmp_path / "b", max_drop=0.5)
    assert (bundle.manifest.precision, chosen_of(bundle)) == ("fp32", ("fp32", 0))
    assert [(row.precision, row.int8_layers) for row in choice_of(bundle).forms] == [("fp32", 0), ("int8", 3)]


def test_what_is_really_timed_is_in_the_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On OpenVINO, with every precision that this processor has kernels for."""
    monkeypatch.setattr("hamsa_deploy.pipeline.where_it_pays.MOST_ROUNDS", 3)
    bundle = exported(tmp_path / "b", "openvino")
    choice, singles = choice_of(bundle), [each for each in target_of("openvino").kernels_here() if each != "int8"]
    assert [row.precision for row in choice.forms if row.precision != "int8"] == ["fp32", *singles]
    assert choice.forms[0].ratio == 1.0
    assert sum(len(row.layers) for row in choice.layers) == 3
    assert {row.around for row in choice.forms if row.int8_layers == 3} == {"fp32", *singles}
    assert bundle.manifest.precision == chosen_of(bundle)[0]
    if bundle.manifest.precision == "fp32":
        assert bundle.manifest.execution is None
    else:
        assert bundle.manifest.execution is not None
        assert bundle.manifest.execution.products.get("i8", 0) == chosen_of(bundle)[1]
    assert bundle.manifest.parity is not None
    assert bundle.manifest.parity.passed


@pytest.mark.parametrize(
    ("to", "precision", "cause"),
    [("onnx", "fp32", ""), ("tensorrt", "int8", "TensorRT would build a plan for each choice, minutes each")],
)
def test_where_nothing_can_be_chosen_the_option_is_refused(to: str, precision: str, cause: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--only-where-it-pays for") as raised:
        hamsa_deploy.export(
            Mixer().eval(), (torch.from_numpy(X[:2]),), to=to, precision=precision, output=tmp_path / "b",
            only_where_it_pays=True,
        )  # fmt: skip
    assert cause in raised.value.cause
    assert not list(tmp_path.iterdir())


def test_a_sweep_times_precisions_as_they_are() -> None:
    base = Request(Mixer().eval(), to="onnx", only_where_it_pays=True)
    with pytest.raises(InputError, match="--only-where-it-pays in a sweep"):
        requests_for(base, matrix(["onnx"], ["fp32", "int8"]))
