"""Hypothesis profiles: `ci` draws the same examples every time, `nightly` (make nightly) ten times as many new ones."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# A failing example is printed as a script, so no database of examples is needed. Compiling a program takes a while.
settings.register_profile("base", database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("base"), max_examples=200, derandomize=True)
settings.register_profile("nightly", settings.get_profile("base"), max_examples=2000, derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
