"""Errors that only the toolkit raises; the family itself, with its exit codes, is in hamsa_runtime.errors."""

from __future__ import annotations

from collections.abc import Sequence

from hamsa_runtime.errors import InputError


class UnsupportedOperatorError(InputError):
    """A complex tensor reached an operator that the spectral compiler has no rule for."""

    def __init__(self, operator: str, nearest: Sequence[str] = (), where: str = "") -> None:
        self.operator, self.nearest = operator, nearest
        super().__init__(
            f"the operator '{operator}' on a complex tensor{where} has no rule in the spectral compiler",
            expected="one of the operators that hamsa_deploy.spectral.supported_operators() lists",
            cause="the model computes with complex tensors in a way that is not covered yet",
            fix=(f"rewrite that line with '{nearest[0]}', " if nearest else "rewrite that line, ")
            + "or with the real and imaginary parts (torch.view_as_real)",
        )

    def at(self, where: str) -> UnsupportedOperatorError:
        """The same error, naming the place in the user's model."""
        return UnsupportedOperatorError(self.operator, self.nearest, where)


class UnsupportedTransformError(InputError):
    """A transform with a length, dimension or normalisation that cannot be compiled."""
