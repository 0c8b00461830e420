"""JetPack by the release of Jetson Linux, and what does not fit it. The release files are as Jetsons have them."""

from __future__ import annotations

import pytest

from hamsa_deploy.cli.jetpack import (
    APT_CUDA,
    JETPACKS,
    SYSTEM_VENV,
    jetpack_text,
    jetson_from,
    l4t_from,
    misfits,
)
from hamsa_deploy.targets.here import numbers
from hamsa_deploy.targets.tensorrt import APT_TENSORRT, OLDEST_TENSORRT

R36_4_3 = """# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8 01:49:37
# KERNEL_VARIANT: oot
TARGET_USERSPACE_LIB_DIR=nvidia
TARGET_USERSPACE_LIB_DIR_PATH=usr/lib/aarch64-linux-gnu/nvidia
"""
R39_2_1 = R36_4_3.replace("R36 (release), REVISION: 4.3", "R39 (release), REVISION: 2.1")
ORIN_NANO = "NVIDIA Jetson Orin Nano Developer Kit\0"
AGX_ORIN = "NVIDIA Jetson AGX Orin Developer Kit\0"
THOR = "NVIDIA Jetson AGX Thor Developer Kit\0"


def release(l4t: str) -> str:
    major, _, rest = l4t.partition(".")
    return R36_4_3.replace("R36 (release), REVISION: 4.3", f"R{major} (release), REVISION: {rest}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (R36_4_3, (36, 4, 3)),
        (R39_2_1, (39, 2, 1)),
        ("# R38 (release), REVISION: 4.0, GCID: 1", (38, 4, 0)),
        ("# R32 (release), REVISION: 7, GCID: 1", (32, 7, 0)),
        ("", None),
        ("Ubuntu 22.04", None),
        ("# R36 (release)", None),
    ],
)
def test_the_release_of_jetson_linux_is_read(text: str, expected: tuple[int, ...] | None) -> None:
    assert l4t_from(text) == expected


@pytest.mark.parametrize(
    ("l4t", "text"),
    [
        ("36.3", "6.0 (L4T 36.3.0): TensorRT 8.6, CUDA 12.2, Python 3.10"),
        ("36.4", "6.1 (L4T 36.4.0): TensorRT 10.3, CUDA 12.6, Python 3.10"),
        ("36.4.7", "6.2.1 or an update of it (L4T 36.4.7): TensorRT 10.3, CUDA 12.6, Python 3.10"),
        ("36.5.2", "6.2.3 (L4T 36.5.2): TensorRT 10.3, CUDA 12.6, Python 3.10"),
        ("38.2.1", "7.0 or an update of it (L4T 38.2.1): TensorRT 10.13, CUDA 13.0, Python 3.12"),
        ("38.4", "7.1 (L4T 38.4.0): TensorRT 10.13, CUDA 13.0, Python 3.12"),
        ("39.2.1", "7.2.1 (L4T 39.2.1): TensorRT 10.16, CUDA 13.2, Python 3.12"),
        ("39.2.2", "7.2.1 or an update of it (L4T 39.2.2): TensorRT 10.16, CUDA 13.2, Python 3.12"),
        ("35.6.1", "older than the releases that are known here (L4T 35.6.1)"),
        ("40.1", "newer than the releases that are known here (L4T 40.1.0)"),
    ],
)
def test_what_belongs_to_a_release(l4t: str, text: str) -> None:
    jetson = jetson_from(release(l4t), ORIN_NANO)
    assert jetson is not None
    assert jetpack_text(jetson) == text


@pytest.mark.parametrize(
    ("model", "tensorrts"),
    [(THOR, ("10.16", "11.4")), (AGX_ORIN, ("10.16", "11.4")), (ORIN_NANO, ("10.16",)), ("", ("10.16",))],
)
def test_tensorrt_11_is_for_the_modules_that_nvidia_names(model: str, tensorrts: tuple[str, ...]) -> None:
    jetson, before = jetson_from(release("39.2.2"), model), jetson_from(R39_2_1, model)
    assert jetson is not None
    assert jetson.tensorrts == tensorrts
    assert before is not None
    assert before.tensorrts == ("10.16",)


def test_the_table_is_in_order_and_only_jetpack_6_0_is_too_old() -> None:
    assert [each.l4t for each in JETPACKS] == sorted(each.l4t for each in JETPACKS)
    assert [each.name for each in JETPACKS if numbers(each.tensorrt) < OLDEST_TENSORRT] == ["6.0"]


@pytest.mark.parametrize(
    ("text", "model", "expected"),
    [
        (R36_4_3, ORIN_NANO, ("NVIDIA Jetson Orin Nano Developer Kit", "8.7")),
        (R39_2_1, THOR, ("NVIDIA Jetson AGX Thor Developer Kit", "11.0")),
        ("", "NVIDIA Orin Nano Developer Kit\0", ("NVIDIA Orin Nano Developer Kit", "8.7")),  # in a container
        (R36_4_3, "", ("unknown model", "")),
        ("", "Raspberry Pi 5 Model B Rev 1.0\0", None),
        ("", "", None),
    ],
)
def test_a_jetson_is_recognised_by_either_file(text: str, model: str, expected: tuple[str, str] | None) -> None:
    jetson = jetson_from(text, model)
    assert (jetson and (jetson.model, jetson.compute_capability)) == expected


def test_a_container_says_where_to_look() -> None:
    jetson = jetson_from("", ORIN_NANO)
    assert jetson is not None
    assert jetpack_text(jetson).startswith("unknown: no /etc/nv_tegra_release")
    assert misfits(jetson, python="3.12.3", tensorrt=None, cuda=None) == []


@pytest.mark.parametrize(
    ("l4t", "installed", "expected"),
    [
        ("36.4.3", ("3.10.12", "10.3.0", "12.6.68"), []),
        ("36.4.3", ("3.10.12", "10.3.0.post1", "12.9.0"), []),  # CUDA may be updated within 12
        ("39.2.2", ("3.12.3", "11.4.1.12", "13.2.1"), []),
        (
            "36.4.3",
            ("3.12.3", None, "12.6.68"),
            [("Python 3.12.3; the tensorrt of JetPack 6.2 is for 3.10", SYSTEM_VENV)],
        ),
        ("36.4.3", ("3.10.12", None, "12.6.68"), [("tensorrt is missing", APT_TENSORRT)]),
        (
            "36.4.3",
            ("3.10.12", "11.4.0.106", "12.6.68"),
            [("tensorrt 11.4.0.106; JetPack 6.2 has 10.3", f"pip uninstall tensorrt; {APT_TENSORRT}")],
        ),
        (
            "39.2.1",
            ("3.12.3", "11.4.1.12", "13.2.1"),
            [("tensorrt 11.4.1.12; JetPack 7.2.1 has 10.16", f"pip uninstall tensorrt; {APT_TENSORRT}")],
        ),
        ("36.4.3", ("3.10.12", "10.3.0", "13.0"), [("CUDA 13.0; JetPack 6.2 has 12.6", APT_CUDA)]),
        (
            "36.4.3",
            ("3.10.12", None, None),
            [("tensorrt is missing", APT_TENSORRT), ("CUDA is missing (/usr/local/cuda)", APT_CUDA)],
        ),
    ],
)
def test_what_does_not_fit(
    l4t: str, installed: tuple[str, str | None, str | None], expected: list[tuple[str, str]]
) -> None:
    jetson = jetson_from(release(l4t), AGX_ORIN)
    assert jetson is not None
    python, tensorrt, cuda = installed
    found = misfits(jetson, python=str(python), tensorrt=tensorrt, cuda=cuda)
    assert [(each.found, each.fix) for each in found] == expected


def test_a_virtual_environment_that_does_not_see_the_systems_tensorrt() -> None:
    jetson = jetson_from(R36_4_3, ORIN_NANO)
    assert jetson is not None
    (misfit,) = misfits(jetson, python="3.10.12", tensorrt=None, cuda="12.6.68", in_system=True)
    assert misfit.found == "the system's Python has tensorrt, this one does not see it"
    assert misfit.fix == SYSTEM_VENV


@pytest.mark.parametrize("l4t", ["36.3", "35.6.1"])
def test_a_jetpack_whose_tensorrt_cannot_read_bundles(l4t: str) -> None:
    jetson = jetson_from(release(l4t), ORIN_NANO)
    assert jetson is not None
    (misfit,) = misfits(jetson, python="3.10.12", tensorrt="8.6.2", cuda="12.2")
    assert "older than 10.3" in misfit.found
    assert misfit.fix == "JetPack 6.1 or newer"
