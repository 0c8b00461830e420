"""The passes that make a float32 graph fit for int8. Each is exact up to rounding, and can be left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import onnx_ir as ir

from hamsa_deploy.precision.centring import centre
from hamsa_deploy.precision.equalisation import equalisable, equalise
from hamsa_deploy.precision.measurements import Measurements
from hamsa_deploy.precision.sites import sites_of

# A pass rewrites a model in place by what it measures, and says in a few words what it did.
Pass = Callable[[ir.Model, str, Measurements], str]


def equalise_frequencies(model: ir.Model, target: str, measurements: Measurements) -> str:
    """See `equalisation`."""
    done = equalise(model, measurements.rows(model, equalisable(model)))
    return f"{len(done.scales)} spectra scaled, {len(done.undone)} multiplications added"


def centre_activations(model: ir.Model, target: str, measurements: Measurements) -> str:
    """See `centring`."""
    sites = sites_of(model.graph, target)
    moved, subtracted = centre(model, sites, measurements, unsigned=target == "openvino")
    return f"{moved} activations centred, {subtracted} subtractions added"


PASSES: dict[str, Pass] = {"equalise": equalise_frequencies, "centre": centre_activations}


def applied(names: Sequence[str], model: ir.Model, target: str, measurements: Measurements) -> Mapping[str, str]:
    """Apply some of PASSES to a model in place, in the order of the table; what each did."""
    return {name: PASSES[name](model, target, measurements) for name in PASSES if name in names}
