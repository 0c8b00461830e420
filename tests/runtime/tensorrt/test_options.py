"""Options of the builder: what they may be, and their way through a manifest."""

from __future__ import annotations

from typing import Any

import pytest

from hamsa_runtime.errors import InputError
from hamsa_runtime.tensorrt.building import MIB, workspace_of
from hamsa_runtime.tensorrt.cuda import Gpu
from hamsa_runtime.tensorrt.options import BuildOptions, options_from_manifest

ODD = BuildOptions(
    min_batch=2,
    opt_batch=4,
    max_batch=16,
    workspace_mib=512,
    optimization_level=5,
    version_compatible=True,
    hardware_compatibility="ampere+",
    refit=True,
    strip_weights=True,
    compute_capabilities=("8.6", "8.9"),
)


@pytest.mark.parametrize("options", [BuildOptions(), ODD])
def test_a_manifest_gives_back_what_it_was_given(options: BuildOptions) -> None:
    stored = options.as_options()
    assert all(value is None or isinstance(value, bool | int | float | str) for value in stored.values())
    assert options_from_manifest({**stored, "of another stage": 1}) == options


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"min_batch": 0}, "batch profile 0, 1, 8"),
        ({"opt_batch": 9}, "batch profile 1, 9, 8"),
        ({"min_batch": 3, "opt_batch": 2}, "batch profile 3, 2, 8"),
        ({"workspace_mib": 0}, "a workspace of 0 MiB"),
        ({"optimization_level": 6}, "optimisation level 6"),
        ({"hardware_compatibility": "amper+"}, "did you mean 'ampere\\+'"),
        ({"compute_capabilities": "89"}, "compute capability '89'"),
        ({"max_batch": "8"}, "options.max_batch is '8'"),
        ({"refit": 1}, "options.refit is 1"),
        ({"workspace_mib": True}, "options.workspace_mib is True"),
    ],
)
def test_what_no_builder_takes_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        options_from_manifest(BuildOptions().as_options() | changes)


def test_the_workspace_is_never_more_than_what_is_free() -> None:
    orin = Gpu(0, "Orin", "8.7", free_bytes=1000 * MIB, total_bytes=7620 * MIB)
    assert workspace_of(BuildOptions(), None) is None
    assert workspace_of(BuildOptions(), orin) == 500 * MIB
    assert workspace_of(BuildOptions(workspace_mib=700), orin) == 700 * MIB
    assert workspace_of(BuildOptions(workspace_mib=4000), orin) == 1000 * MIB
    assert workspace_of(BuildOptions(workspace_mib=4000), None) == 4000 * MIB
