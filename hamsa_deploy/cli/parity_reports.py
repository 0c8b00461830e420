"""From what hamsa-parity has found to the section of a report."""

from __future__ import annotations

from typing import Any

from hamsa_deploy.cli.parity_request import ParityRequest
from hamsa_deploy.cli.reports import Reports
from hamsa_deploy.parity import ParityReport
from hamsa_deploy.parity.layers import LayerReport
from hamsa_deploy.report.document import PARITY
from hamsa_deploy.report.parity_section import section_from_error, section_from_report
from hamsa_deploy.report.precision_map import precision_maps
from hamsa_deploy.report.wording import engine_text
from hamsa_runtime.errors import ParityError


def write_result(reports: Reports, request: ParityRequest, report: ParityReport, layers: LayerReport | None) -> None:
    """A comparison that was made, whatever its verdict."""
    section = section_from_report(
        report,
        manifest=request.manifest,
        data=request.data,
        labels=request.labels,
        limits_given=request.thresholds is not None,
        layers=layers,
    )
    maps = precision_maps(request.bundle)
    run_by = engine_text(report, request.manifest.target)
    reports.write(PARITY, {**section, **_facts(request), "run_by": run_by, "precision_maps": maps})


def write_failure(reports: Reports, request: ParityRequest, error: ParityError) -> None:
    """A comparison that broke off."""
    reports.write(PARITY, {**section_from_error(error, request.manifest.precision), **_facts(request)})


def _facts(request: ParityRequest) -> dict[str, Any]:
    return {"compared_with": request.reference_text, "data": request.data_text}
