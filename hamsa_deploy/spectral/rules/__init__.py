"""The rules of the spectral compiler, one family per file; importing this package registers them."""

from hamsa_deploy.spectral.rules import arithmetic, fourier, parts, products

__all__ = ["arithmetic", "fourier", "parts", "products"]
