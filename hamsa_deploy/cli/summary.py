"""What hamsa-export shows in the end, from the manifest that it has written (in a dry run: would write)."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from hamsa_deploy.cli.console import grid, table
from hamsa_deploy.measure.execution import in_words, pays, some_of
from hamsa_deploy.models.preprocessing import IMAGENET
from hamsa_deploy.precision.records import precision_of
from hamsa_deploy.targets import target_of
from hamsa_runtime.folders import is_there
from hamsa_runtime.manifest import (
    AchievedTypes,
    Audio,
    Calibration,
    ComplexLinear,
    EngineBuild,
    Execution,
    FileEntry,
    InputSpec,
    Int8Choice,
    Manifest,
    Model,
    OutputSpec,
    Parity,
    Preprocessing,
    Scan,
    Transform,
)
from hamsa_runtime.outputs import LOGITS
from hamsa_runtime.tensorrt.achieved import fallen_text
from hamsa_runtime.vocabulary import ENGINES, is_of_hub

BUILT_LATER = (
    "It is built on the device by the command hamsa-build BUNDLE, or when it is first loaded, which takes minutes. "
    "The bundle is complete, and fits any GPU."
)
COMPILED_LATER = "to be compiled for the GPU when it is first loaded"
RANDOM = "RANDOM, no weights were given: good for measuring speed, not for predictions"


def model_facts(manifest: Manifest) -> Table:
    """The model, its weights, inputs, outputs and transforms."""
    model, how = manifest.model, manifest.preprocessing
    rows = [
        ("model", _model_text(model)),
        ("weights", _weights_text(model)),
        *(("input", _spec_text(spec)) for spec in manifest.inputs),
        *(("output", _spec_text(spec)) for spec in manifest.outputs),
        *(
            ("state", f"{_spec_text(spec)}, kept between calls")
            for spec in manifest.graph_inputs[len(manifest.inputs) :]
        ),
        ("transforms", _transforms_text(manifest.plan)),
    ]
    if manifest.audio is not None:
        rows.insert(2, ("clips", _clips_text(manifest.audio)))
    if how is not None:
        rows.insert(3, ("pixels", _pixels_text(how, model)))
    if manifest.scans:
        rows.append(("scans", _scans_text(manifest.scans)))
    if manifest.linears:
        rows.append(("complex layers", _linears_text(manifest.linears)))
    if manifest.stand_ins:
        rows.append(("stood in for", f"{', '.join(manifest.stand_ins)}: not installed here"))
    facts = grid()
    for label, text in rows:
        style = "bold yellow" if text == RANDOM else ""
        facts.add_row(Text(label, "cyan"), Text(text, style))
    return facts


def show_result(console: Console, manifest: Manifest, seconds: Mapping[str, float], folder: Path) -> None:
    """Everything about a published bundle, and what to do with it next."""
    _show(
        console,
        Text.assemble((manifest.name, "bold"), " for ", (_variant(manifest), "bold")),
        model_facts(manifest),
        *_island_facts(manifest.islands),
        *([_calibration_facts(manifest.calibration)] if manifest.calibration else []),
        *([_choice_tables(manifest.int8_choice)] if manifest.int8_choice else []),
        *([_plan_facts(manifest.engine)] if manifest.engine else []),
        _side_by_side(_stage_table(seconds), _file_table(manifest.files)),
        *([_parity_table(manifest.parity, manifest.model)] if manifest.parity else []),
        *([_execution_facts(manifest.execution, manifest.precision)] if manifest.execution else []),
        _verdict(manifest),
    )
    console.print(Text.assemble(("Bundle  ", "bold"), f"{folder}"), soft_wrap=True)
    console.print(_next_steps(manifest, folder), soft_wrap=True)


def show_plan(console: Console, manifest: Manifest, stages: Sequence[str], output: Path) -> None:
    """What an export would do."""
    transforms = table("transform of", "length", "factors", "kind")
    for each in manifest.plan:
        factors = " x ".join(map(str, each.factors))
        transforms.add_row(Text(each.module or "the model"), str(each.length), factors, each.kind)
    scans = table("scan of", "operator", "steps", "state", "form")
    for scan in manifest.scans:
        steps, state = "any" if scan.length is None else str(scan.length), " x ".join(map(str, scan.state))
        scans.add_row(Text(scan.module or "the model"), scan.kind, steps, state, _form_text(scan))
    exists = " (replaces what is there)" if is_there(output) else ""
    _show(
        console,
        Text.assemble("Plan for ", (manifest.name, "bold"), " on ", (_variant(manifest), "bold")),
        model_facts(manifest),
        *([transforms] if manifest.plan else []),
        *([scans] if manifest.scans else []),
    )
    console.print(Text.assemble(("Stages  ", "bold"), ", ".join(stages)), soft_wrap=True)
    console.print(Text.assemble(("Output  ", "bold"), f"{output}{exists}"), soft_wrap=True)
    console.print("Dry run: nothing was written.")


def _show(console: Console, *parts: RenderableType) -> None:
    for part in parts:
        console.print(part)
        console.print()


def _variant(manifest: Manifest) -> str:
    return f"{manifest.target}, {manifest.precision}"


def _model_text(model: Model) -> str:
    config = "" if model.is_onnx_file else _config_text(model.config)
    return f"{model.reference}{config}, {model.parameters:,} parameters"


def _config_text(config: Mapping[str, Any]) -> str:
    return f" ({', '.join(f'{key}={value}' for key, value in config.items())})" if config else ""


def _weights_text(model: Model) -> str:
    if model.weights is not None:
        files = {model.weights.file: model.weights.sha256, **model.config.get("external_data", {})}
        key = f" ({model.weights.key})" if model.weights.key else ""
        return "; ".join(f"{name}{key}, sha256 {digest[:12]}" for name, digest in files.items())
    if is_of_hub(model.reference):
        return "the hub's"
    return "as the factory made them" if ":" in model.reference else RANDOM


def _spec_text(spec: InputSpec | OutputSpec) -> str:
    layout = f" {spec.layout}" if isinstance(spec, InputSpec) and spec.layout else ""
    return f"{spec.name}: {spec.dtype} [{', '.join(map(str, spec.shape))}]{layout}"


def _pixels_text(how: Preprocessing, model: Model) -> str:
    where = "in the graph" if how.normalise == "graph" else "by the runtime"
    assumed = ":" in model.reference and not is_of_hub(model.reference) and how.mean == IMAGENET.mean
    users = " (ImageNet's; --mean and --std say others)" if assumed else ""
    colours = "RGB, " if how.channels == 3 else "grey, "
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (how.mean, how.std))
    made = "stretched" if how.fit == "stretch" else "resized"
    return f"{colours}{made} to {how.size[0]} x {how.size[1]}; normalised {where}, mean {mean}, std {std}{users}"


def _clips_text(how: Audio) -> str:
    channels = {1: "mono", 2: "stereo"}.get(how.channels, f"{how.channels} channels")
    return f"{how.input}: {how.sample_rate} Hz, {channels}; WAV and FLAC files"


def _transforms_text(plan: Iterable[Transform]) -> str:
    """'of length 3136 = 56 x 56 (2 times), 49'."""
    counts = Counter((each.length, each.factors, each.kind == "native") for each in plan)
    parts = [
        str(length)
        + (f" = {' x '.join(map(str, factors))}" if len(factors) > 1 else "")
        + (" by the engine" if native else "")
        + (f" ({count} times)" if count > 1 else "")
        for (length, factors, native), count in counts.items()
    ]
    return f"of length {', '.join(parts)}" if parts else "none: this model has no Fourier transform"


def _scans_text(scans: Iterable[Scan]) -> str:
    """'selective_scan of 197 steps, state 384 x 16, a loop of 8 (24 times)'."""
    counts = Counter(
        f"{each.kind} of {'any number of' if each.length is None else each.length} steps, "
        f"{'complex ' if each.is_complex else ''}state {' x '.join(map(str, each.state))}, {_form_text(each)}"
        for each in scans
    )
    return "; ".join(text + (f" ({count} times)" if count > 1 else "") for text, count in counts.items())


def _linears_text(linears: Iterable[ComplexLinear]) -> str:
    """'320 to 320 by three products (6 times)'."""
    counts = Counter(f"{each.inputs} to {each.outputs} by {LINEAR_FORMS[each.form]}" for each in linears)
    return "; ".join(text + (f" ({count} times)" if count > 1 else "") for text, count in counts.items())


LINEAR_FORMS = {"three": "three products", "stacked": "one stacked product", "two": "two products"}


def _form_text(scan: Scan) -> str:
    factors = " x ".join(map(str, scan.factors))
    return {
        "loop": f"a loop of {factors}",
        "tree": f"a tree of {factors}",
        "chunks": f"chunks of {factors}",
        "convolution": "a convolution",
    }[scan.form]


def _calibration_facts(calibration: Calibration) -> Table:
    """What int8 was calibrated on and how, and what was done to the graph before."""
    inputs, method = calibration.inputs, calibration.method
    score = calibration.signal_to_noise_db.get(method)
    skipped = f", {len(inputs.skipped)} of them unreadable" if inputs.skipped else ""
    held_out = f" (the best on those held out, {score:.1f} dB)" if score is not None else ""
    kept = calibration.kept_layers
    rows = [
        (
            "calibrated",
            f"on {inputs.used} of {inputs.found} inputs, {inputs.source}{skipped}; {method}{held_out}",
        ),
        (
            "int8",
            f"{calibration.int8_layers} layers"
            + (f", all else in {precision_of(calibration.around).words}" if calibration.around else "")
            + (f"; not, for accuracy: {', '.join(kept)}" if kept else ""),
        ),
        *((name, done) for name, done in calibration.passes.items()),
    ]
    facts = grid()
    for label, text in rows:
        facts.add_row(Text(label, "cyan"), Text(text))
    return facts


def _choice_tables(choice: Int8Choice) -> RenderableType:
    """Which products int8 makes faster, in milliseconds of the whole model, and what the bundle could have been."""
    products = table("products of one size", "layers", "in int8", "in float", "pays")
    for each in choice.layers:
        times = (f"{time:.3g}" for time in (each.int8_milliseconds, each.float_milliseconds))
        # What seems slower alone, and with others is not, stays: a difference of noise.
        pays = "yes, together" if each.float_milliseconds < each.int8_milliseconds else "yes"
        products.add_row(Text(each.product), str(len(each.layers)), *times, pays if each.pays else "no: slower")
    forms = table("the bundle could be", "layers in int8", "others", "ms", "of fp32", "")
    for form in choice.forms:
        row = (form.precision, str(form.int8_layers), form.around, f"{form.milliseconds:.3g}", f"{form.ratio:.2f}")
        forms.add_row(*row, "it is" if form.chosen else "")
    batch = "" if choice.batch == 1 else f", a batch of {choice.batch}"
    title = f"Where int8 pays on {choice.device}{batch}: milliseconds of the whole model, the others in int8\n"
    return Group(Text(title, "bold"), products, Text(), forms)


def _island_facts(islands: Mapping[str, str]) -> Iterator[Table]:
    """One line for each kind of layer that float16 cannot hold: how many, and the first with what was found there."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for layer, reason in islands.items():
        kind, _, found = reason.partition(": ")
        groups.setdefault(kind, []).append((layer, found))
    if not groups:
        return
    facts = grid()
    for number, (kind, members) in enumerate(groups.items()):
        layer, found = members[0]
        label = "kept in float32" if number == 0 else ""
        more = f" and {len(members) - 1} more" if len(members) > 1 else ""
        facts.add_row(Text(label, "cyan"), Text(f"{kind}: {layer}{more}: {found}"))
    yield facts


def _plan_facts(engine: EngineBuild) -> Table:
    """The TensorRT plan: what was asked of it and what became of that; or why there is none, and what happens then."""
    if engine.missing:
        rows = [("plan", f"not in this bundle: {engine.missing}", "yellow"), ("", BUILT_LATER, "")]
    else:
        where = f"for {engine.gpu} ({engine.compute_capability}) only" if engine.gpu else COMPILED_LATER
        built = f"built by {engine.module} {engine.version} in {engine.seconds:.1f} s, {where}"
        rows = [("plan", built, ""), ("asked for", f"{in_words(engine.asked)} nodes", "")]
        rows += _achieved_rows(engine.achieved)
    facts = grid()
    for label, text, style in rows:
        facts.add_row(Text(label, "cyan"), Text(text, style))
    return facts


def _achieved_rows(found: AchievedTypes | None) -> list[tuple[str, str, str]]:
    if found is None:
        return [("layers", "not known: TensorRT has not told", "yellow")]
    total = sum(found.layers.values())
    rows = [("layers", f"{in_words(found.layers)}; {found.fused} of {total} do the work of several nodes", "")]
    if found.fell_back:
        rows.append(("fell back", fallen_text(found.fell_back), "yellow"))
    return rows


def _side_by_side(*tables: Table) -> Table:
    grid = Table.grid(padding=(0, 6))
    grid.add_row(*tables)
    return grid


def _stage_table(seconds: Mapping[str, float]) -> Table:
    rows = table("stage", "time")
    for stage, time in seconds.items():
        rows.add_row(stage, f"{time:.1f} s")
    rows.add_section()
    rows.add_row("total", f"{sum(seconds.values()):.1f} s")
    return rows


def _file_table(files: Mapping[str, FileEntry]) -> Table:
    rows = table("file", "size")
    for name, entry in files.items():
        rows.add_row(Text(name), size_text(entry.bytes))
    return rows


def size_text(size: int) -> str:
    """1234567 -> '1.2 MB'."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"


def _parity_table(parity: Parity, model: Model) -> RenderableType:
    limits, original = parity.thresholds, parity.reference if model.is_onnx_file else "PyTorch"
    rows = table("output", "max relative error", "cosine", "same top-1")
    for name, metrics in parity.metrics.items():
        rows.add_row(Text(name), *_error_texts(metrics), _top1_text(metrics, parity.images))
    rows.add_section()
    limit = f"at most {limits['max_relative_error']:.0e}"
    rows.add_row("allowed", limit, f"at least {limits['cosine']}", f"{limits['top1']:.0%}", style="dim")
    where = "" if parity.device in ("", "CPU") else f", on {parity.device}"
    by = f", its ONNX file run by {ENGINES[parity.engine].title}: no GPU here runs the plan" if parity.engine else where
    note = [Text(f"\n{parity.note}", "yellow")] if parity.note else []
    return Group(Text(f"Compared with {original} on {parity.images} inputs{by}\n", "bold"), rows, *note)


def _error_texts(metrics: Mapping[str, Any]) -> tuple[str, str]:
    """Of whole numbers, which are the same or are not, in place of the error."""
    if "equal" in metrics:
        return f"{100 * metrics['equal']:.2f} % equal", "-"
    return f"{metrics['max_relative_error']:.1e}", f"{metrics['cosine']:.7f}"


def _top1_text(metrics: Mapping[str, Any], images: int) -> str:
    if "top1" not in metrics:
        return "-"
    ties = f", {metrics['top1_ties']} ties" if metrics["top1_ties"] else ""
    return f"{round(metrics['top1'] * images)} of {images}{ties}"


def _execution_facts(execution: Execution, precision: str) -> RenderableType:
    """What runs in which precision, and how fast, with what is not as hoped in yellow."""
    conversions = f"; {execution.conversions} conversions between types" if execution.conversions else ""
    rows = [
        ("products", in_words(execution.products), ""),
        ("other operators", in_words(execution.others) + conversions, ""),
        ("speed", _speed_text(execution, precision), "" if pays(execution) else "yellow"),
    ]
    if execution.not_int8:
        rows.insert(1, ("not int8", f"{some_of(execution.not_int8)}, although asked for", "yellow"))
    facts = grid()
    for label, text, style in rows:
        facts.add_row(Text(label, "cyan"), Text(text, style))
    return Group(Text(f"What the engine runs on {execution.device}\n", "bold"), facts)


def _speed_text(execution: Execution, precision: str) -> str:
    batch = "" if execution.batch == 1 else f" for a batch of {execution.batch}"
    times = f"{execution.milliseconds:.3g} ms against {execution.float32_milliseconds:.3g} ms in float32{batch}"
    share = f"{execution.ratio:.2f} of the time" if execution.ratio < 1 else f"{execution.ratio:.2f} times the time"
    return f"{times}, {share}" + ("" if pays(execution) else f": {precision} does not pay here")


def _verdict(manifest: Manifest) -> Text:
    original = manifest.model.reference if manifest.model.is_onnx_file else "PyTorch"
    if manifest.parity is None:
        why = target_of(manifest.target).no_engine_here()
        return Text.assemble(
            ("NOT VERIFIED  ", "bold yellow"),
            f"nothing has run this bundle: {why}. Whether it computes what {original} does, hamsa-parity tells there",
        )
    widened = manifest.parity.note
    accuracy = "ONNX Runtime's DFT" if widened else manifest.precision
    return Text.assemble(
        ("✓ PASSED  ", "bold green"),
        f"the bundle computes what {original} computes, within the accuracy of {accuracy}",
    )


def _next_steps(manifest: Manifest, folder: Path) -> Text:
    target = target_of(manifest.target)
    if target.for_browsers:
        return Text.assemble(
            ("Next    ", "bold"),
            "put the folder on any web server; or here, and open http://localhost:8000:\n        ",
            (f"python -m http.server --directory {shlex.quote(str(folder))}", "green"),
        )
    torch = " and no PyTorch" if target.runs_without_torch else ""
    method = ".classify('photo.jpg')" if manifest.preprocessing else "(arrays)"
    if manifest.preprocessing and not any(spec.name == LOGITS for spec in manifest.outputs):
        method = "('photo.jpg')"
    files = "photo.jpg" if manifest.preprocessing else "clip.wav" if manifest.audio else "arrays.npz"
    if manifest.audio:
        method = ".stream(['clip.wav'])" if manifest.states else "('clip.wav')"
    return Text.assemble(
        ("Next    ", "bold"),
        f"copy the folder to the device; there, with hamsa-runtime[{target.engine.extra}]{torch}:\n        ",
        (f"hamsa run {shlex.quote(str(folder))} {files}\n", "green"),
        "        or in Python:\n        ",
        (f"import hamsa_runtime; hamsa_runtime.Engine({str(folder)!r}){method}", "green"),
    )
