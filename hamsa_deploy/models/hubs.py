"""Models of other libraries, by the names they have there.

    timm:NAME    what timm.create_model takes: resnet18.a1_in1k, hf-hub:owner/name, local-dir:folder
    hf:ID        an image classifier or encoder of transformers: owner/name, or a folder that save_pretrained wrote

With the weights that the library brings for the name, its preprocessing and its labels. Weights of transformers are
read as safetensors, and code that comes with a model is never run. Where files come from and where they are kept is the
libraries' affair: HF_HOME, HF_HUB_OFFLINE, HF_TOKEN and the rest mean what they always do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hamsa_runtime.errors import HamsaError, InputError, MissingError
from hamsa_runtime.manifest import Preprocessing
from hamsa_runtime.vocabulary import HUBS

# By Pillow's numbers, and by timm's names.
RESAMPLING: dict[Any, Literal["bicubic", "bilinear"]] = {
    2: "bilinear",
    3: "bicubic",
    "bilinear": "bilinear",
    "bicubic": "bicubic",
}
# transformers' ConvNeXt crops below this size, and stretches above.
CROPPED_BELOW = 384


@dataclass(frozen=True)
class Found:
    """What a hub says of a model before its weights are there.

    Attributes:
        build: makes it; given the options, and whether with the hub's weights.
        preprocessing: of its images.
        labels: class names in order of the logits; None where there are none.
    """

    build: Callable[..., nn.Module]
    preprocessing: Preprocessing
    labels: tuple[str, ...] | None


def name_in_hub(name: str) -> str:
    """What such a model is called: without the hub, its owner or folder."""
    return name.rstrip("/").replace(":", "/").rpartition("/")[2]


def found_in_hub(name: str, **config: Any) -> Found:
    """Look a model up.

    Args:
        name: as above.
        **config: options of the model, in the library's own words.

    Raises:
        MissingError: the library is not installed.
        InputError: it does not know the name, cannot load it, or prepares images as no bundle does.
    """
    hub, _, model = name.partition(":")
    library = _library(HUBS[hub], name)
    try:
        return (_of_timm if hub == "timm" else _of_transformers)(library, model, config)
    except HamsaError as error:
        raise type(error)(f"{name}: {error.found}", expected=error.expected, fix=error.fix) from error
    except Exception as error:  # whatever the libraries, and what they fetch with, raise
        raise _refused(name, error) from error


def _library(name: str, model: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingError(
            f"{model} needs the package {name}, which cannot be imported: {error}",
            fix=f"pip install 'hamsa-deploy[{name}]'",
        ) from error


def _refused(name: str, error: Exception) -> InputError:
    text = str(error).strip()
    return InputError(
        f"{name} cannot be loaded: {type(error).__name__}: {text.splitlines()[0] if text else 'no message'}",
        expected="a model that the library finds, with weights as safetensors and no code of its own",
        cause="a misspelt name, no network and no copy of the files here, or a model that is not public",
        fix="load it with the library itself first; export a model of any origin as package.module:factory",
    )


class HubModel(nn.Module):
    """A model of transformers that takes pixels alone, and gives a dict of tensors.

    Args:
        model: the library's own.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        """Of normalised pixels (B, C, H, W): what the model returns for them, such as "logits" (B, K)."""
        outputs = self.model(pixel_values=pixel_values, return_dict=True)
        return {name: value for name, value in outputs.items() if isinstance(value, Tensor)}


class TimmModel(HubModel):
    """The same of timm's, which give one tensor."""

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        """Of normalised pixels (B, C, H, W): "logits" (B, K), or "embedding" (B, d) where there are no classes."""
        return {"logits" if self.model.num_classes else "embedding": self.model(pixel_values)}


def _of_timm(timm: Any, name: str, config: Mapping[str, Any]) -> Found:
    with torch.device("meta"):
        known = timm.create_model(name, pretrained=False, **config)
    size = config.get("img_size")
    how = timm.data.resolve_model_data_config(known, {} if size is None else {"img_size": size})
    how_many = known.num_classes

    def build(*, pretrained: bool, **options: Any) -> nn.Module:
        return TimmModel(timm.create_model(name, pretrained=pretrained, **options))

    labels = _labels_of_timm(timm, known)
    return Found(build, preprocessing_of_timm(how), labels if labels and len(labels) == how_many else None)


def preprocessing_of_timm(how: Mapping[str, Any]) -> Preprocessing:
    channels, height, width = how["input_size"]
    mode = how.get("crop_mode") or "center"
    if mode not in ("center", "squash"):
        raise InputError(f"images are prepared by {mode!r}", expected="a centre crop, or stretched")
    scaled = math.floor(height / how["crop_pct"])  # rounded down there, to the nearest here
    return Preprocessing(
        size=(height, width),
        channels=channels,
        resize=_resampling(how["interpolation"]),
        crop_fraction=height / scaled,
        mean=tuple(how["mean"]),
        std=tuple(how["std"]),
        fit="stretch" if mode == "squash" else "cover",
    )


def _labels_of_timm(timm: Any, model: Any) -> tuple[str, ...] | None:
    if model.pretrained_cfg.get("label_names"):
        return tuple(map(str, model.pretrained_cfg["label_names"]))
    subset = timm.data.infer_imagenet_subset(model)
    if subset is None:
        return None
    info = timm.data.ImageNetInfo(subset)
    return tuple(info.index_to_description(index) for index in range(model.num_classes))


def _of_transformers(transformers: Any, name: str, options: Mapping[str, Any]) -> Found:
    config = transformers.AutoConfig.from_pretrained(name, trust_remote_code=False, **options)
    kind = (config.architectures or ["(none)"])[0]
    if not hasattr(transformers, kind):
        raise InputError(f"the architecture {kind} is none of transformers {transformers.__version__}")
    mixin = import_module("transformers.image_processing_base").ImageProcessingMixin
    processor, _ = mixin.get_image_processor_dict(name)
    transformers.utils.logging.disable_progress_bar()  # of reading files; that of fetching them stays

    def build(*, pretrained: bool, **options: Any) -> nn.Module:
        made = getattr(transformers, kind)
        if not pretrained:
            return HubModel(made(config))
        return HubModel(made.from_pretrained(name, trust_remote_code=False, use_safetensors=True, **options))

    labels = config.id2label if kind.endswith("ForImageClassification") else None
    names = None if labels is None else tuple(str(labels[index]) for index in range(len(labels)))
    return Found(build, preprocessing_of_processor(processor, config), names)


def preprocessing_of_processor(said: Mapping[str, Any], config: Any) -> Preprocessing:
    """preprocessor_config.json as a bundle says it."""
    channels = int(getattr(config, "num_channels", 3))
    scale = said.get("rescale_factor", 1 / 255) if said.get("do_rescale", True) else 1.0
    if not math.isclose(scale, 1 / 255, rel_tol=1e-6):
        raise InputError(f"pixels are multiplied by {scale:g}", expected="1/255")
    if said.get("do_resize") is False:
        raise InputError("images are not resized", expected="one size for all: a bundle has fixed pixels")
    size, crop_fraction, fit = _geometry(said)
    normalised = said.get("do_normalize", True)
    mean, std = ((said[key] if normalised else number) for key, number in (("image_mean", 0.0), ("image_std", 1.0)))
    return Preprocessing(
        size=size,
        channels=channels,
        resize=_resampling(said.get("resample", 2)),
        crop_fraction=crop_fraction,
        mean=_of_each(mean, channels),
        std=_of_each(std, channels),
        fit=fit,
    )


def _geometry(said: Mapping[str, Any]) -> tuple[tuple[int, int], float, Literal["cover", "stretch"]]:
    """(height, width), the share that is cropped, and whether the aspect is kept."""
    size = said["size"]
    if isinstance(size, int):
        size = {"height": size, "width": size}
    if "shortest_edge" not in size:
        if said.get("do_center_crop"):
            raise InputError(f"images are stretched to {size} and cropped", expected="one of them")
        return (size["height"], size["width"]), 1.0, "stretch"
    edge = size["shortest_edge"]
    if "crop_pct" in said:  # ConvNeXt's
        if edge >= CROPPED_BELOW:
            return (edge, edge), 1.0, "stretch"
        return (edge, edge), edge / int(edge / said["crop_pct"]), "cover"
    if not said.get("do_center_crop"):
        raise InputError("images keep their aspect and are not cropped", expected="one size for all")
    crop = said["crop_size"]
    height, width = (crop, crop) if isinstance(crop, int) else (crop["height"], crop["width"])
    if height != width:
        raise InputError(f"a crop of {height} x {width} behind the shortest edge {edge}", expected="a square one")
    return (height, width), height / edge, "cover"


def _resampling(found: Any) -> Literal["bicubic", "bilinear"]:
    if found not in RESAMPLING:
        raise InputError(f"images are resized by {found!r}", expected="bilinear or bicubic interpolation")
    return RESAMPLING[found]


def _of_each(value: float | Sequence[float], channels: int) -> tuple[float, ...]:
    return (float(value),) * channels if isinstance(value, (int, float)) else tuple(map(float, value))
