"""Where a report and its bundle come from, as HTML."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hamsa_deploy.report.document import PARITY, Document
from hamsa_deploy.report.markup import Child, Markup, facts, table, tag
from hamsa_deploy.report.provenance import export_command


def head_facts(document: Document) -> Markup:
    """What stands below the verdict: what was compared with what."""
    found, bundle = document["sections"].get(PARITY), document["bundle"]
    rows: list[tuple[str, Child]] = []
    if bundle is not None:
        manifest = bundle["manifest"]
        rows += [("model", model_text(manifest)), ("precision", manifest["precision"]), ("target", manifest["target"])]
    if found is not None:
        rows += [
            ("reference", found.get("compared_with") or found["reference"]),
            ("images", images_text(found)),
            ("run by", found.get("run_by")),
        ]
    elif bundle is not None and bundle["manifest"]["parity"] is not None:
        parity = bundle["manifest"]["parity"]
        rows.append(("at the export", f"passed on {parity['images']} inputs, against {parity['reference']}"))
    return facts(rows)


def model_text(manifest: Mapping[str, Any]) -> str:
    """ "hamsa_nano, 216,106 parameters"."""
    return f"{manifest['model']['reference']}, {manifest['model']['parameters']:,} parameters"


def images_text(found: Mapping[str, Any]) -> str:
    """How many, and from where."""
    parts = [str(found["images"])] if found["images"] is not None else []
    return ", ".join([*parts, *([found["data"]] if found.get("data") else [])])


def provenance_part(document: Document) -> Markup:
    """Commands, weights, calibration, hashes and versions."""
    bundle = document["bundle"]
    about = [] if bundle is None else _bundle_parts(bundle)
    return tag(
        "section", tag("h2", "Provenance"), tag("h3", "Commands"), _commands(document), *about, _versions(document)
    )


def _commands(document: Document) -> Markup:
    rows: list[list[Child]] = []
    if document["bundle"] is not None:
        command = tag("code", export_command(document["bundle"]["manifest"]))
        rows.append(["the bundle, as far as its manifest tells", command, "", ""])
    for name, section in document["sections"].items():
        command = tag("code", section["command"] or "called from Python")
        rows.append([f"{name} of this report", command, section["written"], section["machine"]])
    return table(["", "command", "when", "machine"], rows, stacks=True, kind="commands")


def _bundle_parts(bundle: Mapping[str, Any]) -> list[Markup]:
    manifest = bundle["manifest"]
    files: list[list[Child]] = [["manifest.json", "", tag("code", bundle["manifest_sha256"])]]
    files += [[name, f"{each['bytes']:,}", tag("code", each["sha256"])] for name, each in manifest["files"].items()]
    return [
        tag("h3", "The bundle"),
        facts([("folder", bundle["folder"]), *_bundle_facts(manifest)]),
        table(["file", "bytes", "SHA-256"], files, stacks=True),
    ]


def _bundle_facts(manifest: Mapping[str, Any]) -> list[tuple[str, Child]]:
    weights, calibration = manifest["model"]["weights"], manifest["calibration"]
    rows: list[tuple[str, Child]] = [
        ("model", model_text(manifest)),
        ("configuration", _text(manifest["model"]["config"])),
        ("weights", "random, or as the factory makes them" if weights is None else _weights(weights)),
        ("calibration", None if calibration is None else _calibration(calibration)),
        ("options", _text(manifest["options"])),
    ]
    return rows


def _weights(weights: Mapping[str, str]) -> Markup:
    return tag("span", f"{weights['file']}, SHA-256 ", tag("code", weights["sha256"]))


def _calibration(calibration: Mapping[str, Any]) -> Markup:
    """As every writer of calibrations has it; what is not there is left out."""
    inputs = calibration.get("inputs", {})
    parts = [f"{inputs[key]} {word}" for key, word in (("used", "inputs"), ("source", "")) if key in inputs]
    text = ", ".join([*(part.strip() for part in parts), str(calibration.get("method", ""))])
    digest = [", SHA-256 of the data ", tag("code", str(inputs["sha256"]))] if "sha256" in inputs else []
    return tag("span", text, *digest)


def _text(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value if isinstance(value, str) else json.dumps(value)}" for key, value in values.items())


def _versions(document: Document) -> Markup:
    """A row for each package, a column for each time that something was run."""
    columns: dict[str, Mapping[str, str]] = {}
    if document["bundle"] is not None:
        columns["the bundle"] = document["bundle"]["manifest"]["versions"]
    columns |= {name: section["versions"] for name, section in document["sections"].items()}
    packages = sorted({package for versions in columns.values() for package in versions})
    rows: list[list[Child]] = [[package, *(each.get(package, "") for each in columns.values())] for package in packages]
    title = tag("summary", f"Versions of {len(packages)} packages")
    return tag("details", title, table(["", *columns], rows))
