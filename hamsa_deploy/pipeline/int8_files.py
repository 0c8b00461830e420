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
from hamsa_deploy.precision.int8.int8_sites import int8_of
from hamsa_deploy.precision.records import precision_of
from hamsa_deploy.precision.records.record import FLOAT32
from hamsa_deploy.targets import target_of
from hamsa_deploy.targets.record import Order
from hamsa_runtime.batches import Arrays
from hamsa_runtime.bundle import Bundle
from hamsa_runtime.devices import CPU
from hamsa_runtime.errors import ParityError
from hamsa_runtime.manifest import Calibration, Int8Choice, Manifest, TimedLayers
from hamsa_runtime.whole_files import scratch_folder


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
            with self.progress("pays"):
                everywhere = self._everywhere(scratch)
                ready = self._around_the_fastest(everywhere)
                layers = self._timed_layers(ready, everywhere) if everywhere else []
            some = ready.only([layer for each in layers if each.pays for layer in each.layers])
            kept: Sequence[str] = ()
            if self.request.max_drop is not None:
                with self.progress("search"):
                    kept = self._kept_of_some(some)
            with self.progress("int8"):
                is_any = len(kept) < len(some.quantisation.sites)
                written = self._written(some, folder, kept) if is_any else ExportFacts()
            with self.progress("choose"):
                return self._fastest(written, folder, everywhere, self._singles(float32, scratch), layers)

    def _everywhere(self, scratch: Path) -> dict[str | None, Path]:
        """Bundles with all products in int8, if there are any, by the precision around them."""
        arounds = (None, *(each for each in self._kernels if each in int8_of(self.request.to).also_around))
        folders = {around: scratch / f"int8-{around}" for around in arounds if self.ready.quantisation.sites}
        for around, folder in folders.items():
            folder.mkdir()
            if around is None:
                self.ready.write(self.request.to, folder)
                self._bundle(folder, self.ready.recorded(()))
            else:
                self._write_timed_only(replace(self.ready, around=around), folders[None], folder, ())
        return folders

    def _around_the_fastest(self, everywhere: Mapping[str | None, Path]) -> Calibrated:
        if len(everywhere) < 2:
            return self.ready
        times = time_bundles(everywhere, self._inputs, self.request.device)
        return replace(self.ready, around=fastest(times, list(everywhere)))

    def _timed_layers(self, ready: Calibrated, everywhere: Mapping[str | None, Path]) -> list[TimedLayers]:
        """What `time_groups` finds."""

        def timer(candidates: Sequence[Kept]) -> Times[Kept]:
            with scratch_folder() as scratch:
                folders = {kept: scratch / str(number) for number, kept in enumerate(candidates)}
                folders[()] = everywhere[ready.around]
                for kept in filter(None, candidates):
                    folders[kept].mkdir()
                    self._write_timed_only(ready, everywhere[None], folders[kept], kept)
                return time_bundles(folders, self._inputs, self.request.device)

        found = ready.quantisation
        return time_groups(groups_of(found.model.graph, found.sites), timer)

    def _write_timed_only(self, ready: Calibrated, everywhere: Path, folder: Path, kept: Sequence[str]) -> None:
        ready.write_timed_only(self.request.to, everywhere, folder, kept)
        self._bundle(folder, ready.recorded(kept))

    def _kept_of_some(self, some: Calibrated) -> Sequence[str]:
        """As `_kept`; all of them where accuracy allows none, for there are other precisions."""
        try:
            return self._kept(some) if some.quantisation.sites else ()
        except ParityError:
            return [site.node for site in some.quantisation.sites]

    def _singles(self, float32: Path, scratch: Path) -> dict[Form, Path]:
        """Bundles of one precision each, from float32 on; those that accuracy allows."""
        target, found = target_of(self.request.to), {}
        for precision in dict.fromkeys((FLOAT32, *self._kernels)):
            if precision_of(precision).is_quantised:
                continue
            folder = scratch / precision
            shutil.copytree(float32, folder)
            target.write(folder, Order(precision))  # whatever processors have fast kernels for, engines type themselves
            bundle = self._bundle(folder, precision=precision)
            if precision == FLOAT32 or self._is_accurate(bundle):
                found[precision, 0, precision] = folder
        return found

    def _fastest(
        self,
        written: ExportFacts,
        folder: Path,
        everywhere: Mapping[str | None, Path],
        singles: Mapping[Form, Path],
        layers: Sequence[TimedLayers],
    ) -> ExportFacts:
        """Time all in turn; the folder then holds what is fastest."""
        int8, folders = self.request.precision, dict(singles)
        if written.calibration is not None:
            self._bundle(folder, written.calibration)
            mixed = int8, written.calibration.int8_layers, written.calibration.around or FLOAT32
            folders[mixed] = folder
        allowed = list(folders)
        of_all = {(int8, len(self.ready.quantisation.sites), around or FLOAT32): around for around in everywhere}
        folders |= {form: everywhere[around] for form, around in of_all.items() if form not in folders}
        times = time_bundles(folders, self._inputs, self.request.device)
        chosen = fastest(times, allowed if self.request.max_drop is not None else list(folders))
        forms = recorded(times, list(folders), chosen)
        choice = Int8Choice(timed_on(self.request.device), batch_of(self._inputs, self._manifest), forms, tuple(layers))
        if chosen in singles:
            shutil.rmtree(folder)
            shutil.copytree(folders[chosen], folder)
            return ExportFacts(precision=chosen[0], choice=choice)
        if folders[chosen] != folder:
            written = self._written(replace(self.ready, around=of_all[chosen]), folder, ())
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
            return self._bundle(folder, ready.recorded(kept))

        return choose_layers_to_keep(ready, self._manifest, build, self._accuracy, self.request.max_drop)

    def _is_accurate(self, bundle: Bundle) -> bool:
        return self.request.max_drop is None or self._accuracy.drop(bundle) <= self.request.max_drop

    def _bundle(self, folder: Path, calibration: Calibration | None = None, precision: str | None = None) -> Bundle:
        """Of files that are there, for this machine only."""
        self.form.write_states(folder)
        manifest = replace(self._manifest, calibration=calibration, precision=precision or self.request.precision)
        return Stage(folder, folder).write_manifest(manifest)

    @property
    def _kernels(self) -> tuple[str, ...]:
        """Precisions that it could be in beside float32: of other devices than the processor nobody tells."""
        return target_of(self.request.to).kernels_here() if self.request.device in (None, CPU) else ()

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
