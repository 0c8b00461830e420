"""A real result that is computed when it is needed, and then only the part that is needed.

The inverse transform of a padded convolution is cut to the signal's length, so the rows of the last product that
nobody asks for need not be there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from hamsa_deploy.spectral import compilation
from hamsa_deploy.spectral.dispatch import lazy_rule, operator_name
from hamsa_deploy.spectral.indexing import PICKING, picked
from hamsa_deploy.spectral.values import Lazy, Real


class LazyInverse(Lazy):
    """A real tensor, to be computed at some positions along one axis.

    Args:
        compute: gives the tensor at chosen positions.
        axis: counted from the end.
        index: the positions, in order.
        shape, dtype: of the tensor at those positions.
    """

    def __init__(
        self, compute: Callable[[np.ndarray], Real], axis: int, index: np.ndarray, shape: torch.Size, dtype: torch.dtype
    ) -> None:
        self.axis, self.index, self.shape, self.dtype = axis, index, shape, dtype
        self._compute = compilation.deferred(compute)
        self._value: Real = None

    def materialise(self) -> Real:
        """Compute it, once."""
        if self._value is None and len(self.index):
            self._value = self._compute(self.index)
        elif self._value is None:
            self._value = torch.zeros(self.shape, dtype=self.dtype)
        return self._value

    def at(self, index: np.ndarray) -> LazyInverse:
        """Some of the positions."""
        shape = list(self.shape)
        shape[self.axis] = len(index)
        return LazyInverse(self._compute, self.axis, self.index[index], torch.Size(shape), self.dtype)


@lazy_rule(LazyInverse, *PICKING)
def pick(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Fewer positions along the axis, in any order."""
    x = args[0]
    if not isinstance(x, LazyInverse) or x._value is not None:
        return NotImplemented
    found = picked(operator_name(func), args)
    return NotImplemented if found is None or found[0] != x.axis else x.at(found[1])
