"""The error of every transform plan, in float32 against numpy.fft in float64.

    python benchmarks/plan_accuracy.py [--max 4096] [--step 1] [--target onnx]

For every length n the compiler's own rules run on real tensors: what they execute here is what they would emit into a
program. Forward is the real transform of float32 noise, inverse the real transform back of float32 noise with
Hermitian symmetry; both orthonormal, 8 signals at once. The error is |found - expected| / |expected|, 2-norms over
all numbers of a transform.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import tables
import torch
from measure import say
from torch import nn

from hamsa_deploy.spectral import compilation
from hamsa_deploy.spectral.dispatch import full
from hamsa_deploy.spectral.rules.fourier import irfft, rfft
from hamsa_deploy.spectral.values import Complex
from hamsa_deploy.targets import target_of
from hamsa_runtime.dft.factorisations import plan_for

SIGNALS = 8
WORST = 8
COLUMNS = {
    "plan": "", "lengths": "d", "forward: median": ".1e", "largest": ".1e", "inverse: median": ".1e", "largest ": ".1e",
}  # fmt: skip


@dataclass(frozen=True)
class Accuracy:
    """Relative errors of the plan of one length."""

    n: int
    kind: str
    forward: float
    inverse: float


def main() -> None:
    parser = tables.parser(__doc__)
    parser.add_argument("--max", type=int, default=4096, help="the largest length")
    parser.add_argument("--step", type=int, default=1, help="every how many lengths; 1 takes some 15 minutes")
    parser.add_argument("--target", default="onnx", help="the engine that the products are shaped for")
    options, report = tables.begin(parser)
    lengths = range(options.max, 0, -options.step)  # the largest always takes part
    results = list(_accuracies(lengths, options.target))
    rows = [_row("all", results)]
    for kind in sorted({result.kind for result in results}):
        rows.append(_row(kind, [result for result in results if result.kind == kind]))
    report.show("Relative errors of all plans", COLUMNS, rows)
    worst = sorted(results, key=lambda result: -max(result.forward, result.inverse))[:WORST]
    columns = {"plan": "", "length": "d", "forward": ".1e", "inverse": ".1e"}
    report.show("The largest", columns, [[each.kind, each.n, each.forward, each.inverse] for each in worst])


def _accuracies(lengths: Sequence[int], target: str) -> Iterator[Accuracy]:
    for count, n in enumerate(lengths):
        if count % 256 == 0:
            say(f"length {n}")
        yield accuracy(n, target)


def accuracy(n: int, target: str) -> Accuracy:
    """Errors of the plan of length n, forward and inverse, on seeded noise."""
    noise = np.random.default_rng(n)
    x = noise.standard_normal((n, SIGNALS), dtype=np.float32)
    half = noise.standard_normal((2, n // 2 + 1, SIGNALS), dtype=np.float32)
    re, im = half[0], half[1]
    im[0] = 0.0  # at k = 0, and at k = n/2, the spectrum of a real signal is real
    if n % 2 == 0:
        im[-1] = 0.0
    with compilation.tracing(compilation.Compilation(nn.Module(), target_of(target).rates, {})), torch.no_grad():
        found_spectrum = _forward(torch.from_numpy(x))
        found_signal = _inverse(torch.from_numpy(re), torch.from_numpy(im), n)
    spectrum = np.fft.rfft(x.astype(np.float64), axis=0, norm="ortho")
    signal = np.fft.irfft(re.astype(np.float64) + 1j * im, n=n, axis=0, norm="ortho")
    return Accuracy(n, plan_for(n).kind, _error(found_spectrum, spectrum), _error(found_signal, signal))


def _forward(x: torch.Tensor) -> np.ndarray:
    z = rfft(x, dim=0, norm="ortho")
    return full(z.re).numpy() + 1j * full(z.im).numpy()


def _inverse(re: torch.Tensor, im: torch.Tensor, n: int) -> np.ndarray:
    return full(irfft(Complex(re, im), n, dim=0, norm="ortho")).numpy()


def _error(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def _row(label: str, results: Sequence[Accuracy]) -> tables.Row:
    forward, inverse = [r.forward for r in results], [r.inverse for r in results]
    return [label, len(results), statistics.median(forward), max(forward), statistics.median(inverse), max(inverse)]


if __name__ == "__main__":
    main()
