"""The tiny bundles of tests/runtime."""

from ..runtime.conftest import make_bundle

__all__ = ["make_bundle"]
