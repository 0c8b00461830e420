"""Tuning: which plans are measured, which one is taken, and what the bundle says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import hamsa_deploy
from hamsa_deploy import to_real
from hamsa_deploy.pipeline import files
from hamsa_deploy.pipeline.trials import FramedRoundTrip, Signals, Task
from hamsa_deploy.pipeline.tuning import (
    Choice,
    choose_plans,
    with_measurements,
)
from hamsa_deploy.scan import linear_recurrence, selective_scan
from hamsa_deploy.scan.forms import Chunks, Loop, Size, Tree, Way, cheapest, form_of, size_of
from hamsa_deploy.spectral import complex_linear
from hamsa_deploy.spectral.complex_linear import FORMS, STACKED, THREE, Layer
from hamsa_runtime import Bundle
from hamsa_runtime.dft.costs import CPU
from hamsa_runtime.dft.factorisations import Plan
from hamsa_runtime.manifest import ComplexLinear, LinearMeasurement, Measurement, Scan, ScanMeasurement, Transform

DENSE, TWO = Plan(64, (64,)), Plan(64, (8, 8))


def row(plan: Plan, columns: int = 8, kind: str = "", module: str = "block") -> Transform:
    return Transform(module, plan.n, plan.factors, kind or plan.kind, columns)


class Stopwatch:
    """A timer: a millisecond for each column, or scan; times `share` for the plan at one place. Remembers what it was
    asked."""

    def __init__(self, place: int, share: float) -> None:
        self.place, self.share = place, share
        self.asked: list[tuple[Task, tuple[Way, ...]]] = []

    def __call__(self, task: Task, ways: Sequence[Way]) -> list[float]:
        self.asked.append((task, tuple(ways)))
        columns = task.columns if isinstance(task, Signals) else 1
        return [columns * (self.share if i == self.place else 1.0) for i in range(len(ways))]


@pytest.mark.parametrize(("share", "taken"), [(0.90, TWO), (0.95, TWO), (0.96, DENSE), (1.0, DENSE), (1.5, DENSE)])
def test_another_plan_is_taken_only_if_it_is_clearly_faster(share: float, taken: Plan) -> None:
    assert Choice(((DENSE, 2.0), (Plan(64, (4, 16)), 1.99), (TWO, 2.0 * share))).plan == taken


def test_every_number_of_columns_is_measured_once_and_the_times_are_added() -> None:
    timer = Stopwatch(1, 0.5)
    rows = [row(DENSE, 8), row(DENSE, 8, module="other"), row(DENSE, 24)]
    choice = choose_plans(rows, (), (), CPU, timer)[64]
    assert [task for task, _ in timer.asked[:2]] == [Signals(64, 8), Signals(64, 24)]
    assert choice.measured[:2] == ((DENSE, 32.0), (choice.plan, 16.0))
    assert {plan for plan, _ in choice.measured} == set(timer.asked[0][1])


def test_what_seems_faster_is_compared_with_the_default_once_more() -> None:
    timer = Stopwatch(1, 0.5)
    choice = choose_plans([row(DENSE)], (), (), CPU, timer)[64]
    assert [plans for _, plans in timer.asked[1:]] == [(DENSE, choice.plan)]
    timer = Stopwatch(1, 0.97)
    assert choose_plans([row(DENSE)], (), (), CPU, timer)[64].plan == DENSE
    assert len(timer.asked) == 1


def test_a_default_that_was_disturbed_is_not_replaced() -> None:
    calls = []

    def timer(task: Task, plans: Sequence[Way]) -> list[float]:
        calls.append(plans)
        return [3.0 if len(calls) == 1 and plan == DENSE else 1.0 for plan in plans]

    choice = choose_plans([row(DENSE)], (), (), CPU, timer)[64]
    assert choice.plan == DENSE
    assert choice.measured[0] == (DENSE, 1.0)
    assert len(calls) == 2


def test_the_default_is_measured_first_even_where_its_estimate_is_bad() -> None:
    odd = Plan(64, (2, 2, 2, 8))
    timer = Stopwatch(0, 2.0)
    choice = choose_plans([row(odd)], (), (), CPU, timer)[64]
    assert choice.default == odd
    assert choice.plan != odd
    assert len(choice.measured) == len({plan for plan, _ in choice.measured}) <= 4


def test_what_leaves_no_choice_is_not_measured() -> None:
    timer = Stopwatch(0, 1.0)
    partial = row(DENSE, kind="dense, 5 frequencies")
    framed = Transform("", 16, (16,), "convolution of frames")  # of a signal whose length varies
    assert choose_plans([row(Plan(3, (3,))), partial, framed], (), (), CPU, timer) == {}
    assert timer.asked == []


def test_frames_are_measured_as_frames() -> None:
    timer = Stopwatch(1, 0.5)
    framed, dense = Transform("", 100, (100,), "convolution of frames", 300, 25), Plan(100, (100,))
    choice = choose_plans([framed, row(Plan(100, (10, 10))), framed], (), (), CPU, timer)[100]
    assert [task for task, _ in timer.asked[:2]] == [Signals(100, 300, 25), Signals(100, 8)]
    assert choice.default == dense
    assert with_measurements([framed], {100: choice})[0].measured == choice.recorded(framed).measured


@pytest.mark.parametrize(("hop", "plan"), [(4, DENSE), (4, TWO), (80, TWO)])
def test_what_is_measured_of_frames_has_the_plan(hop: int, plan: Plan) -> None:
    program = to_real(FramedRoundTrip(64, hop).eval(), (torch.zeros(1, 96),), dynamic_shapes={}, plans={64: plan})
    found = program.graph_module.meta["transforms"]
    assert {(each.factors, each.hop) for each in found} <= {(plan.factors, hop), (plan.factors, None)}
    assert len(found) == (1 if hop > 64 else 2)


def test_measurements_are_added_to_whole_transforms_of_their_length() -> None:
    choice = Choice(((DENSE, 2.00049), (Plan(64, ()), 1e-5 / 3)))
    rows = [row(DENSE), row(DENSE, kind="dense, 5 frequencies"), row(Plan(32, (32,)))]
    found = with_measurements(rows, {64: choice})
    assert found[0].measured == (Measurement((64,), 2.0), Measurement((), 3.333e-06))
    assert list(found[1:]) == rows[1:]


def test_rows_of_a_program_say_how_many_columns_they_have() -> None:
    program = to_real(Power().eval(), (torch.zeros(2, 64, 3, 5),))
    assert [each.columns for each in program.graph_module.meta["transforms"]] == [15]


class Power(nn.Module):
    """The power spectrum along the second dimension."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.rfft(x, dim=1).abs()


def exported(folder: Path, **options: Any) -> Bundle:
    return hamsa_deploy.export(Power().eval(), (torch.zeros(1, 64, 8),), to="onnx", output=folder, **options)


def test_the_bundle_is_built_with_the_plan_that_was_fastest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def made(name: str, share: float) -> Bundle:
        monkeypatch.setattr(files, "engine_timer", lambda build, batch, device: Stopwatch(1, share))
        return exported(tmp_path / name, tune=True)

    tuned, again, kept, default = made("a", 0.5), made("b", 0.5), made("c", 0.97), exported(tmp_path / "d")
    usual, other = tuned.manifest.plan[0].measured[:2]
    assert (usual.milliseconds, other.milliseconds) == (8.0, 4.0)
    assert [each.factors for each in tuned.manifest.plan] == [other.factors]
    assert [each.factors for each in default.manifest.plan] == [usual.factors]
    assert (tmp_path / "a/manifest.json").read_bytes() == (tmp_path / "b/manifest.json").read_bytes()
    assert again.manifest == tuned.manifest
    assert [each.factors for each in kept.manifest.plan] == [usual.factors]
    assert kept.manifest.files == default.manifest.files
    assert default.manifest.plan[0].measured == ()


@pytest.mark.parametrize(("to", "precision"), [("onnx", "fp16"), ("openvino", "fp32")])
def test_a_real_measurement_follows_the_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str, precision: str
) -> None:
    monkeypatch.setattr("hamsa_deploy.pipeline.tuning.MOST_CANDIDATES", 2)
    bundle = hamsa_deploy.export(
        Power().eval(), (torch.zeros(1, 64, 8),), to=to, precision=precision, output=tmp_path / "b", tune=True
    )
    (made,) = bundle.manifest.plan
    assert len(made.measured) == 2
    assert all(each.milliseconds > 0 for each in made.measured)
    pairs = tuple((Plan(64, each.factors), each.milliseconds) for each in made.measured)
    assert Choice(pairs).plan == Plan(64, made.factors)
    assert bundle.manifest.parity is not None
    assert bundle.manifest.parity.passed


SCAN = Scan("block", "selective_scan", 20, (4, 2), "loop", (1,))


def test_the_forms_of_every_size_of_scans_are_measured_once() -> None:
    timer, other = Stopwatch(1, 0.5), replace(SCAN, kind="linear_recurrence", length=8, state=(4,), decays=4)
    varying = replace(SCAN, length=None)
    chosen = choose_plans((), [SCAN, replace(SCAN, module="other"), other, varying], (), CPU, timer)
    sizes = [Size("selective_scan", 20, (4, 2)), Size("linear_recurrence", 8, (4,), decays=4)]
    assert list(chosen) == sizes
    assert [task for task, _ in timer.asked] == [sizes[0], sizes[0], sizes[1], sizes[1]]
    tried = timer.asked[0][1]
    assert tried[0] == Loop(1)
    assert {type(form) for form in tried} == {Loop, Tree}
    assert Chunks in {type(form) for form in timer.asked[2][1]}
    assert len(set(tried)) == len(tried) <= 6
    found = with_measurements([SCAN, varying], chosen)
    assert found[0].measured[:2] == (ScanMeasurement("loop", (1,), 1.0), found[0].measured[1])
    assert found[1] == varying


LINEAR = ComplexLinear("block", 8, 4, 5, "three")


def test_the_forms_of_every_size_of_complex_layers_are_measured_once() -> None:
    timer = Stopwatch(1, 0.5)
    chosen = choose_plans((), (), [LINEAR, replace(LINEAR, module="other")], CPU, timer)
    assert [task for task, _ in timer.asked] == [Layer(8, 4, 5)] * 2
    assert timer.asked[0][1] == (THREE, STACKED, complex_linear.TWO)
    assert chosen[Layer(8, 4, 5)].plan == STACKED
    (found,) = with_measurements([LINEAR], chosen)
    measured = [("three", 1.0), ("stacked", 0.5), ("two", 1.0)]
    assert found == replace(LINEAR, measured=tuple(LinearMeasurement(*each) for each in measured))


class Mixed(nn.Module):
    """A complex linear layer over the channels of a spectrum."""

    def __init__(self) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(4, 6, dtype=torch.complex64, generator=draw))

    def forward(self, x: Tensor) -> Tensor:
        z = nn.functional.linear(torch.fft.fft(x, dim=1), self.weight)
        return torch.fft.ifft(z * torch.sigmoid(z.real), dim=1).real


def test_complex_layers_are_listed_with_what_was_measured(tmp_path: Path) -> None:
    x = torch.randn(1, 10, 6, generator=torch.Generator().manual_seed(1))
    bundle = hamsa_deploy.export(Mixed().eval(), (x,), to="onnx", output=tmp_path / "b", tune=True)
    (layer,) = bundle.manifest.linears
    assert (layer.inputs, layer.outputs, layer.rows) == (6, 4, 10)
    assert layer.measured[0].form == complex_linear.cheapest(Layer(6, 4, 10), CPU).name
    assert {each.form for each in layer.measured} == FORMS.keys()
    pairs = tuple((FORMS[each.form], each.milliseconds) for each in layer.measured)
    assert Choice(pairs).plan == FORMS[layer.form]
    assert bundle.manifest.parity is not None
    assert bundle.manifest.parity.passed


class Smoothed(nn.Module):
    """A recurrence with constant decays, and a selective scan that has the weights' D channels."""

    def __init__(self) -> None:
        super().__init__()
        self.A = nn.Parameter(-torch.rand(4, 2, generator=torch.Generator().manual_seed(0)))

    def forward(self, x: Tensor) -> Tensor:
        y = selective_scan(x, x.sigmoid(), self.A, x[:, None, :2], x[:, None, 2:])[0]
        return linear_recurrence(self.A.exp()[:, :1].T[:, None], y.permute(2, 0, 1)) + y.sum()


def test_a_bundle_is_built_with_the_forms_that_were_fastest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hamsa_deploy.pipeline.tuning.MOST_FORMS", 2)
    x = torch.randn(1, 4, 20, generator=torch.Generator().manual_seed(0))
    bundle = hamsa_deploy.export(Smoothed().eval(), (x,), to="onnx", output=tmp_path / "b", tune=True)
    assert [(each.kind, each.length, each.state) for each in bundle.manifest.scans] == [
        ("selective_scan", 20, (4, 2)),
        ("linear_recurrence", 20, (4,)),
    ]
    for scan in bundle.manifest.scans:
        usual, *others = scan.measured
        assert form_of(usual.form, usual.factors) == cheapest(size_of(scan), CPU)
        taken = min(scan.measured, key=lambda each: each.milliseconds)
        if taken.milliseconds > 0.95 * usual.milliseconds:
            taken = usual
        assert (scan.form, scan.factors) == (taken.form, taken.factors)
        assert others
    assert bundle.manifest.parity is not None
    assert bundle.manifest.parity.passed
