"""The files of an int8 bundle: all of its products in int8, or those that accuracy and speed allow."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from hamsa_deploy.form.from_request import parity_data
from hamsa_deploy.form.real_model import RealModel
from hamsa_deploy.form.request import Request
from hamsa_deploy.inputs.feeds import feeds_of
from hamsa_deploy.measure.execution import batch_of
from hamsa_deploy.measure.processor import timed_on
from hamsa_deploy.parity.comparison import run_model
from hamsa_deploy.pipeline.int8 import Calibrated
from hamsa_deploy.pipeline.manifest import ExportFacts, manifest_of
from hamsa_deploy.pipeline.max_drop import Accuracy, choose_layers_to_keep
from hamsa_deploy.pipeline.progress import Progress
from hamsa_deploy.pipeline.staging import Stage
from hamsa_deploy.pipeline.where_it_pays import (
    Form,
    Kept,
    Times,
    fastest,
    groups_of,
    recorded,
    time_bundles,
    time_groups,
)
from hamsa_deploy.precision.records import precision_of
from hamsa_deploy.precision.records.record import FLOAT32
from hamsa_deploy.targets import target_of
from hamsa_deploy.targets.record import Order
from hamsa_runtime.batches import Arrays
from hamsa_runtime.bundle import Bundle
from hamsa_runtime.errors import ParityError
from hamsa_runtime.manifest import Int8Choice, Manifest, TimedLayers
from hamsa_runtime.whole_files import scratch_folder

# Biases of files that are only timed are corrected on one input: their values cost no time.
TIMED_ONLY = 1


@dataclass(frozen=True)
class Int8Files:
    """What an int8 bundle is written from.

    Attributes:
        request, form: what is exported.
        ready: the calibrated model.
        progress: told of the stages.
    """

    request: Request
    form: RealModel
    ready: Calibrated
    progress: Progress

    def write(self, folder: Path) -> ExportFacts:
        """All products in int8 but those that accuracy forbids."""
        kept: Sequence[str] = ()
        if self.request.max_drop is not None:
            with self.progress("search"):
                kept = self._kept(self.ready)
        with self.progress("int8"):
            return self._written(self.ready, folder, kept)

    def write_fastest(self, folder: Path, float32: Path) -> ExportFacts:
        """The fastest of all that accuracy allows, by the steps of where_it_pays.py.

        Args:
            folder: for the files.
            float32: holds those of float32, as ONNX; it is left as it is.
        """
        with scratch_folder() as scratch:
            everywhere = scratch / "everywhere"
            with self.progress("pays"):
                layers = self._timed_layers(everywhere)
            some = self.ready.only([layer for each in layers if each.pays for layer in each.layers])
            kept: Sequence[str] = ()
            if self.request.max_drop is not None:
                with self.progress("search"):
                    kept = self._kept_of_some(some)
            with self.progress("int8"):
                is_any = len(kept) < len(some.quantisation.sites)
                written = self._written(some, folder, kept) if is_any else ExportFacts()
            with self.progress("choose"):
                return self._fastest(written, folder, everywhere, self._singles(float32, scratch), layers)

    def _timed_layers(self, everywhere: Path) -> list[TimedLayers]:
        """What `time_groups` finds; the folder becomes the bundle with all of them in int8."""
        self._write_timed_only(everywhere, ())

        def timer(candidates: Sequence[Kept]) -> Times[Kept]:
            with scratch_folder() as scratch:
                folders = {
                    kept: scratch / str(number) if kept else everywhere for number, kept in enumerate(candidates)
                }
                for kept in filter(None, candidates):
                    self._write_timed_only(folders[kept], kept)
                return time_bundles(folders, self._inputs, self.request.device)

        found = self.ready.quantisation
        return time_groups(groups_of(found.model.graph, found.sites), timer)

    def _write_timed_only(self, folder: Path, kept: Sequence[str]) -> None:
        folder.mkdir()
        self.ready.write(self.request.to, folder, kept, TIMED_ONLY)
        self._bundle(folder)

    def _kept_of_some(self, some: Calibrated) -> Sequence[str]:
        """As `_kept`; all of them where accuracy allows none, for there are other precisions."""
        try:
            return self._kept(some) if some.quantisation.sites else ()
        except ParityError:
            return [site.node for site in some.quantisation.sites]

    def _singles(self, float32: Path, scratch: Path) -> dict[str, Path]:
        """Bundles of one precision each, from float32 on; those that accuracy allows."""
        target, found = target_of(self.request.to), {}
        for precision in dict.fromkeys((FLOAT32, *target.kernels_here())):
            if precision_of(precision).is_quantised:
                continue
            folder = scratch / precision
            shutil.copytree(float32, folder)
            target.write(folder, Order(precision))  # whatever processors have fast kernels for, engines type themselves
            bundle = self._bundle(folder, precision)
            if precision == FLOAT32 or self._is_accurate(bundle):
                found[precision] = folder
        return found

    def _fastest(
        self,
        written: ExportFacts,
        folder: Path,
        everywhere: Path,
        singles: Mapping[str, Path],
        layers: Sequence[TimedLayers],
    ) -> ExportFacts:
        """Time all in turn; the folder then holds what is fastest."""
        int8, some, most = self.request.precision, len(written.int8_layers), len(self.ready.quantisation.sites)
        folders: dict[Form, Path] = {(precision, 0): each for precision, each in singles.items()}
        if some:
            self._bundle(folder)
            folders[int8, some] = folder
        allowed = list(folders)
        if some < most:
            folders[int8, most] = everywhere
            allowed += [(int8, most)] if self.request.max_drop is None else []
        times = time_bundles(folders, self._inputs, self.request.device)
        chosen = fastest(times, allowed)
        forms = recorded(times, list(folders), chosen)
        choice = Int8Choice(timed_on(self.request.device), batch_of(self._inputs, self._manifest), forms, tuple(layers))
        if chosen[0] != int8:
            shutil.rmtree(folder)
            shutil.copytree(folders[chosen], folder)
            return ExportFacts(precision=chosen[0], choice=choice)
        if chosen[1] != some:
            written = self._written(self.ready, folder, ())
        return replace(written, choice=choice)

    def _written(self, ready: Calibrated, folder: Path, kept: Sequence[str]) -> ExportFacts:
        islands = ready.write(self.request.to, folder, kept)
        layers = {site.node: site.layer for site in ready.quantisation.without(kept)}
        return ExportFacts(islands, calibration=ready.recorded(kept), calibrated=ready, int8_layers=layers)

    def _kept(self, ready: Calibrated) -> Sequence[str]:
        """Nodes that have to stay in floating point for the accuracy to hold."""
        assert self.request.max_drop is not None

        def build(folder: Path, kept: Sequence[str]) -> Bundle:
            ready.write(self.request.to, folder, kept)
            return self._bundle(folder)

        return choose_layers_to_keep(ready, self._manifest, build, self._accuracy, self.request.max_drop)

    def _is_accurate(self, bundle: Bundle) -> bool:
        return self.request.max_drop is None or self._accuracy.drop(bundle) <= self.request.max_drop

    def _bundle(self, folder: Path, precision: str | None = None) -> Bundle:
        """Of files that are there, for this machine only."""
        self.form.write_states(folder)
        return Stage(folder, folder).write_manifest(
            replace(self._manifest, precision=precision or self.request.precision)
        )

    @cached_property
    def _manifest(self) -> Manifest:
        return manifest_of(self.request, self.form)

    @cached_property
    def _accuracy(self) -> Accuracy:
        data = parity_data(self.request, self.form)
        expected = run_model(self.request.model, data, self._manifest)[1]
        return Accuracy(data, expected, self.request.classes, self.request.device)

    @cached_property
    def _inputs(self) -> Arrays:
        """What is timed: one image, or a batch where that is fixed."""
        return next(feeds_of(parity_data(self.request, self.form), self._manifest))
