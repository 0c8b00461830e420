"""The spectral compiler: torch.fft and complex tensors become real arithmetic. Nothing here knows HAMSA."""

from hamsa_deploy.spectral.compiler import FFTS, to_real
from hamsa_deploy.spectral.dispatch import supported_operators

__all__ = ["FFTS", "supported_operators", "to_real"]
