"""The forms in which a scan is computed, what each costs, and which one an engine gets.

    h_t = a_t h_{t-1} + b_t,   t = 0 .. L - 1

Loop(U)        one ONNX Scan whose body makes U steps: little memory, a handful of operators at any length.
Tree(r1, ..)   L = r1 r2 .. : runs of r1 steps are joined into one step each, then runs of r2 of those, ..; the states
               in front of all runs come back down that way. (2, 2, ..) is Blelloch's scan of depth 2 log2 L, (Q, L / Q)
               the two passes over chunks of Q.
Chunks(Q)      products of chunks of Q steps, which a scan of L / Q steps joins. For state-space duality; and where all
               steps have one decay of the weights alone: h is b times a constant lower triangular matrix then, whose
               entries are a^(t - s).
Convolution()  the same decay's convolution with a^t, over twice the length, left to the spectral compiler.

No form divides by a decay or takes the exponential of a positive number: products of decays of at most 1 can only
underflow to 0, which is their right value. The form with cumulative sums, exp(S_t) sum_s exp(-S_s) b_s, is wrong in
float32 as soon as decays are strong.

Source: Blelloch, Prefix sums and their applications (1990).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

from hamsa_deploy.spectral.complex_linear import Layer, LinearForm
from hamsa_runtime.dft.costs import Rates, Work, nanoseconds
from hamsa_runtime.dft.factorisations import Plan, plan_for
from hamsa_runtime.manifest import Scan

STEPS = (1, 2, 4, 7, 8, 14, 16, 28, 32)  # of a loop's body: beyond, its operators cost as much as the trips they save
NEAR = 2**17  # numbers: decays and increments of one trip stay in a core's own cache
RADICES = (2, 4, 8)
MANY = 1000  # operators
CHUNKS = (8, 16, 32, 64, 128, 256)
# Of duality: of 16, 32 and 64 the first is the fastest on both engines at 197 and 3,136 tokens.
DUAL = (32, 16, 64, 128)


class Size(NamedTuple):
    """All that the cost of a scan depends on.

    Args:
        kind: the operator.
        length: L, steps.
        state: the shape of one step's state, of a batch of one; of a selective scan (D, N), of duality (H, P, N).
        is_complex: whether the state is.
        decays: how many different ones a step has, where all steps have the same, of at most 1 and of the weights
            alone; 0 elsewhere.
    """

    kind: str
    length: int
    state: tuple[int, ...]
    is_complex: bool = False
    decays: int = 0

    @property
    def numbers(self) -> int:
        """Of one state, real and imaginary parts."""
        return math.prod(self.state) * (2 if self.is_complex else 1)

    @property
    def states(self) -> int:
        """N, of them for each channel that is read out at once."""
        return self.state[-1] if self.kind == "selective_scan" else 1


@dataclass(frozen=True)
class Loop:
    """So many steps in the body of a loop."""

    steps: int

    @property
    def factors(self) -> tuple[int, ...]:
        return (self.steps,)

    def work(self, size: Size) -> Work:
        trips, several = -(-size.length // self.steps), self.steps > 1
        operators = (8 if size.is_complex else 2) * self.steps + 3 * several + (4 if size.states > 1 else 0)
        padded = 4 * size.length * size.numbers / size.states if size.length % self.steps else 0
        numbers = size.length * size.numbers * ((5 if several else 2) - 2 * (several and size.decays > 0))
        return Work(trips=trips, operators=trips * operators, moved=numbers + padded)


@dataclass(frozen=True)
class Tree:
    """Runs of so many steps, then of so many runs, and so on: the product is the length, padded to it."""

    factors: tuple[int, ...]

    @property
    def length(self) -> int:
        return math.prod(self.factors)

    def work(self, size: Size) -> Work:
        """Of each level two copies, and five operators for each number on the way up and down, of which one makes
        products of decays; complex products have four real ones, and two sums."""
        parts, up = 3 if size.is_complex else 1, 2 if size.decays else 3
        numbers, total, operators = self.length, 0.0, 8.0
        for level, radix in enumerate(self.factors):
            is_top = level == len(self.factors) - 1
            total += numbers * (0.5 if is_top else 1)
            operators += parts * (4 + 2 * radix + (0 if is_top else up * radix))
            numbers //= radix
        moved, pointwise = (5, 2) if size.decays else (10, 4)
        total *= size.numbers
        return Work(operators=operators, moved=moved * total, pointwise=parts * pointwise * total)


@dataclass(frozen=True)
class Chunks:
    """Products of chunks of so many steps, joined by a scan of their last states."""

    steps: int

    @property
    def factors(self) -> tuple[int, ...]:
        return (self.steps,)

    def joint(self, size: Size) -> Size:
        """The scan that joins the chunks."""
        return size._replace(kind="linear_recurrence", length=-(-size.length // self.steps))

    def work(self, size: Size) -> Work:
        """Of constant decays, without the scan that joins the chunks: a product, and one sum and product with the state
        in front of each chunk; two exchanges of axes, where there are several decays, in which engines skip through
        memory: 3136 steps of 384 take 12 ms on ONNX Runtime, of which the products are one."""
        trips, numbers = -(-size.length // self.steps), math.prod(size.state)
        parts = 4 if size.is_complex else 1
        total = trips * self.steps * numbers
        macs, matrices = parts * total * self.steps, parts * size.decays
        moved = parts * total * ((4 if trips > 1 else 2) + (20 if size.decays > 1 else 0))
        kind = {"plain": macs} if size.decays == 1 else {"batched": macs, "matrices": matrices, "thin": matrices}
        stored = matrices * self.steps**2  # and read, at every run, for few columns
        operators = parts * (8 if trips > 1 else 4)
        return Work(**kind, moved=moved + stored, stored=stored, operators=operators)


@dataclass(frozen=True)
class Convolution:
    """A convolution over twice the length, of the spectral compiler."""

    factors: tuple[int, ...] = ()

    def points(self, length: int) -> int:
        """Of the transforms: enough for no wrapping around, and of small factors."""
        return next(n for n in itertools.count(2 * length) if _is_smooth(n))

    def work(self, size: Size) -> Work:
        """Of transforms there and back, and a product with the kernel's."""
        n = self.points(size.length)
        work = plan_for(n).work
        work = work + work + Work(moved=2 * n, pointwise=4 * n, stored=2 * n * size.decays / size.numbers, operators=8)
        factor = size.numbers
        return replace(
            work, **{name: factor * getattr(work, name) for name in ("plain", "batched", "moved", "pointwise")}
        )


Form: TypeAlias = Loop | Tree | Chunks | Convolution
KINDS: Mapping[str, type[Form]] = {"loop": Loop, "tree": Tree, "chunks": Chunks, "convolution": Convolution}
# The plan of each length of transforms, and the form of each size of scans and complex linear layers, that are not left
# to the cost model.
Key: TypeAlias = int | Size | Layer
Way: TypeAlias = Plan | Form | LinearForm
Plans: TypeAlias = Mapping[Key, Way]


def kind_of(form: Form) -> str:
    """As a manifest calls it."""
    return next(kind for kind, each in KINDS.items() if isinstance(form, each))


def form_of(kind: str, factors: tuple[int, ...]) -> Form:
    """The inverse of that."""
    if kind == "tree":
        return Tree(factors)
    return Convolution() if kind == "convolution" else KINDS[kind](*factors)  # type: ignore[arg-type]


def size_of(scan: Scan) -> Size:
    """Of one whose length is known."""
    assert scan.length is not None
    return Size(scan.kind, scan.length, scan.state, scan.is_complex, scan.decays)


def estimate(form: Form, size: Size, rates: Rates) -> float:
    """Nanoseconds on an engine, for a batch of one."""
    joint = form.joint(size) if isinstance(form, Chunks) else None
    rest = 0.0
    if joint is not None and joint.length > 1 and size.kind != "ssd":
        rest = estimate(cheapest(joint, rates, apart=False), joint, rates)
    return nanoseconds(form.work(size), rates, 1) + rest


def cheapest(size: Size, rates: Rates, *, apart: bool = True, transforms: bool = True) -> Form:
    """The form with the smallest estimate; of one step that is one step, without a loop.

    Args:
        size: of the scan.
        rates: of the engine.
        apart: whether products are among the forms of constant decays.
        transforms: whether convolutions are, where an engine's own transforms are not asked for.
    """
    if size.kind == "ssd":
        return Chunks(min(DUAL[0], size.length))
    if size.length == 1:
        return Tree((1,))
    most = MANY if size.is_complex or size.decays else rates.largest_tree
    found = candidates(size, most, apart=apart)
    forms = (form for form in found if transforms or not isinstance(form, Convolution))
    return min(forms, key=lambda form: estimate(form, size, rates))


def candidates(size: Size, most: float = MANY, *, apart: bool = True) -> Iterator[Form]:
    """Those worth an estimate; trees of so many operators at most, `apart` as there."""
    if size.kind == "ssd":
        yield from (Chunks(steps) for steps in dict.fromkeys(min(each, size.length) for each in DUAL))
        return
    for steps in STEPS:
        if steps == 1 or (steps <= size.length and steps * size.numbers <= NEAR):
            yield Loop(steps)
    yield from _trees_of(size, most)
    if size.decays and apart:
        yield from (Chunks(steps) for steps in dict.fromkeys(min(each, size.length) for each in CHUNKS))
        yield Convolution()


def _trees_of(size: Size, most: float) -> Iterator[Tree]:
    """With one radix, and another one at either end."""
    for radix in RADICES:
        for first, last in itertools.product((radix, 16, 32), (radix, 4)):
            inner: tuple[int, ...] = ()
            while first * math.prod(inner) * last < size.length:
                inner = (*inner, radix)
            tree = Tree((first, *inner, last) if first * math.prod(inner) < size.length else (first, *inner))
            if tree.work(size).operators <= most:
                yield tree


def _is_smooth(n: int) -> bool:
    for factor in (2, 3, 5, 7):
        while n % factor == 0:
            n //= factor
    return n == 1
