"""What a comparison does beside comparing."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import pytest

from hamsa_deploy.parity.comparison import give_memory_back


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library gives back what it likes")
def test_memory_that_was_freed_goes_back_to_the_system() -> None:
    blocks = [np.ones(12_500) for _ in range(2000)]
    last = blocks[-1]  # what lies behind them keeps malloc from giving them back by itself
    before = _resident()
    del blocks
    give_memory_back()
    assert before - _resident() > 150 << 20
    assert last[0] == 1


def _resident() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) << 10
