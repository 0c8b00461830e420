"""Names of devices, as they are read; which of them an engine has is said in test_backends."""

from __future__ import annotations

import pytest

from hamsa_runtime.devices import Device, Name, device_from, only_name
from hamsa_runtime.errors import InputError


@pytest.mark.parametrize(
    ("text", "choice", "names"),
    [
        ("cpu", "", "CPU"),
        ("GPU.1", "", "GPU.1"),
        ("cuda:0", "", "CUDA.0"),
        ("openvino:gpu", "", "OPENVINO.GPU"),
        ("auto", "AUTO", ""),
        ("AUTO:GPU,cpu", "AUTO", "GPU,CPU"),
        ("hetero:cuda:1,CPU", "HETERO", "CUDA.1,CPU"),
    ],
)
def test_case_does_not_count_and_a_colon_is_a_dot(text: str, choice: str, names: str) -> None:
    device = device_from(text)
    assert device == Device(choice, tuple(Name(*each.split(".")) for each in names.split(",") if each))
    assert str(device) == (f"{choice}:{names}" if choice and names else choice or names)
    assert device_from(str(device)) == device


@pytest.mark.parametrize(
    "text",
    ["", " ", "0", "gpu:", "GPU.", "GPU.1.2", "a b", "CPU,GPU", "HETERO", "HETERO:", "AUTO:", "HETERO:CPU,",
     "HETERO:CPU,cpu", "AUTO:HETERO", "HETERO:AUTO:GPU", "GPU.1\n", "\u0130CPU", "open\u017ff"],
)  # fmt: skip
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        device_from(text)
    assert caught.value.found == f"device is {text!r}"
    assert "HETERO:GPU,CPU" in caught.value.expected


def test_an_engine_that_runs_on_one_device_takes_one_name() -> None:
    assert only_name("gpu:1", "TensorRT") == ("GPU", "1")
    for text in ("AUTO", "HETERO:GPU,CPU"):
        with pytest.raises(InputError, match="device is"):
            only_name(text, "TensorRT")
