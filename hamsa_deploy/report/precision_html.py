"""What each layer computes in, as HTML: a tile for each layer, in rows for the blocks of the model."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hamsa_deploy.measure.execution import WORDS, in_words
from hamsa_deploy.report.document import PARITY, Document
from hamsa_deploy.report.markup import Child, Markup, facts, tag

TITLE = "Precision of the layers"
CLASSES = {"i8": "i8", "f16": "f16", "bf16": "f16", "f32": "f32", "f64": "f32"}
ABOUT = (
    "Each tile is a layer, with the type that its matrix products and convolutions compute in, or where it has none, "
    "what is pointwise. A dashed edge stands for several types, counted; hover over a tile for all of its operators."
)
HALVES = ("f16", "bf16")
# stages.0.blocks.1 of stages.0.blocks.1.hss.sass: up to the last number, which counts repeated blocks.
BLOCK = re.compile(r"^(?:.*\.)?\d+(?=\.|$)")
WHOLE = "the model itself"

Layer = Mapping[str, Any]


def precision_part(document: Document) -> Markup:
    """Maps as far as they are known, what the manifest says, and what stayed in float32 for which reason."""
    found = document["sections"].get(PARITY, {})
    maps = found.get("precision_maps") or []
    manifest = {} if document["bundle"] is None else document["bundle"]["manifest"]
    parts = [_map(each) for each in maps]
    about = [tag("p", ABOUT, class_="quiet")] if maps else [_missing(PARITY in document["sections"])]
    return tag("section", tag("h2", TITLE), *about, *parts, *_manifest_parts(manifest))


def _missing(compared: bool) -> Markup:
    if compared:
        return tag("p", "Neither the file nor the engine tells which layer an operator is of.", class_="empty")
    command = tag("code", "hamsa-parity BUNDLE --report FILE.html")
    return tag(
        "p", "Not in this report yet: which layer computes in which type. ", command, " adds it.", class_="empty"
    )


def _map(found: Mapping[str, Any]) -> Markup:
    rows: dict[str, list[Layer]] = {}
    for layer in found["layers"]:
        block, name = split_path(layer["module"])
        rows.setdefault(block, []).append({**layer, "name": name})
    strips = [cell for blocks, layers in alike(rows) for cell in _row(blocks, layers)]
    title = found["title"][:1].upper() + found["title"][1:]
    return tag("div", tag("h3", title), tag("div", *strips, class_="strip"))


def alike(rows: Mapping[str, Sequence[Layer]]) -> list[tuple[list[str], Sequence[Layer]]]:
    """Blocks that follow one another and have the same layers in the same types, with the layers of the first."""
    groups: list[tuple[list[str], Sequence[Layer]]] = []
    for block, layers in rows.items():
        if groups and _types(groups[-1][1]) == _types(layers):
            groups[-1][0].append(block)
        else:
            groups.append(([block], layers))
    return groups


def _types(layers: Sequence[Layer]) -> list[tuple[Any, ...]]:
    return [(layer["name"], layer["products"], layer["others"]) for layer in layers]


def split_path(path: str) -> tuple[str, str]:
    """ "stages.0.blocks.1.hss.sass" -> ("stages.0.blocks.1", "hss.sass")."""
    match = BLOCK.match(path)
    if match is None:
        return WHOLE, path or "inputs and outputs"
    return match[0], path[match.end() + 1 :] or "the block itself"


def _row(blocks: Sequence[str], layers: Sequence[Layer]) -> Iterator[Markup]:
    more = f" to {blocks[-1]}, all alike" if len(blocks) > 1 else ""
    yield tag("span", blocks[0] + more)
    yield tag("div", *map(_tile, layers), class_="tiles")


def _tile(layer: Layer) -> Markup:
    text, kind = type_text(layer["products"], layer["others"])
    title = f"{layer['module']}: products {in_words(layer['products'])}; other operators {in_words(layer['others'])}"
    return tag("span", layer["name"], " ", tag("b", text), class_=f"tile {kind}", title=title)


def type_text(products: Mapping[str, int], others: Mapping[str, int]) -> tuple[str, str]:
    """What a tile says, and the class that colours it. float32 in a layer of float16 is there for a reason."""
    counts = products or others
    if not counts:
        return "not told by the engine", "f32"
    if len(counts) > 1:
        return in_words(counts), "mixed"
    (precision,) = counts
    word = WORDS.get(precision, precision)
    if products and precision in HALVES and "f32" in others:
        return f"{word}, {others['f32']} others float32", "mixed"
    return word, CLASSES.get(precision, "mixed")


def _manifest_parts(manifest: Mapping[str, Any]) -> list[Markup]:
    rows: list[tuple[str, Child]] = []
    execution, engine = manifest.get("execution"), manifest.get("engine")
    if execution is not None:
        products, others = in_words(execution["products"]), in_words(execution["others"])
        rows.append(("at the export", f"{products} products, {others} other operators on {execution['device']}"))
        if execution["not_int8"]:
            rows.append(("not in int8", f"{', '.join(execution['not_int8'])}, although asked for"))
    if engine is not None and engine["achieved"] is not None:
        rows += [
            ("asked of the plan", in_words(engine["asked"])),
            ("its layers", in_words(engine["achieved"]["layers"])),
        ]
    kept = (manifest.get("calibration") or {}).get("kept_layers")
    rows.append(("kept in floating point", ", ".join(kept) if kept else None))
    slower = [layer for each in (manifest.get("int8_choice") or {}).get("layers", ()) for layer in _slower(each)]
    rows.append(("slower in int8", ", ".join(slower) if slower else None))
    return [facts(rows), *_islands(manifest.get("islands") or {})]


def _slower(timed: Mapping[str, Any]) -> Sequence[str]:
    return () if timed["pays"] else timed["layers"]


def _islands(islands: Mapping[str, str]) -> list[Markup]:
    if not islands:
        return []
    lines = [tag("li", tag("code", layer), f" {reason}") for layer, reason in islands.items()]
    return [
        tag("details", tag("summary", f"{len(lines)} places stay in float32, each with its reason"), tag("ul", *lines))
    ]
