"""The PyTorch model that a bundle was made from, as a module that takes the bundle's inputs."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from hamsa_deploy.models import load_model
from hamsa_deploy.models.catalogue import check_trusted
from hamsa_deploy.models.normalisation import normalised, scale_and_offset
from hamsa_runtime.errors import InputError
from hamsa_runtime.manifest import Manifest


class FromPixels(nn.Module):
    """A model of normalised images, given the inputs of a bundle; its results as a tuple.

    Where the bundle's graph normalises, the input is uint8 (N, H, W, C), else what the model itself takes.
    """

    scale: Tensor
    offset: Tensor

    def __init__(self, model: nn.Module, manifest: Manifest) -> None:
        super().__init__()
        self.model = model
        how = manifest.preprocessing
        self.normalises = how is not None and how.normalise == "graph"
        if how is not None:
            scale, offset = scale_and_offset(how.mean, how.std)
            self.register_buffer("scale", scale)
            self.register_buffer("offset", offset)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        if self.normalises:
            inputs = (normalised(inputs[0], self.scale, self.offset), *inputs[1:])
        return tuple(pytree.tree_leaves(self.model(*inputs)))


Original = Callable[[], FromPixels]
"""Gives the model of the first bundle to the peers that need it."""


def original_of(manifest: Manifest, trusted: str | None = None) -> FromPixels:
    """The model by the name that the manifest has for it, in eval mode.

    Its weights are those that `load_model` finds by itself: the file that the bundle was made from is not part of it,
    and no time depends on it.

    Args:
        manifest: of the bundle.
        trusted: the `package.module:factory` that may be imported; a bundle does not choose what runs here.

    Raises:
        InputError: the manifest names nothing that can be built here, or code that is not the trusted one.
    """
    model = manifest.model
    check_trusted(model, trusted)
    try:
        return FromPixels(load_model(model.reference, **model.config), manifest).eval()
    except (InputError, TypeError) as error:
        raise InputError(
            f"the bundle {manifest.name} was made from {model.reference!r}, which cannot be built here: {error}",
            expected="a built-in model, or package.module:factory that can be imported from here",
            cause="a bundle of an ONNX file, or of a module that Python code has handed over",
            fix="run from the folder that holds the module, or leave --peer dft and --peer eager away",
        ) from error
