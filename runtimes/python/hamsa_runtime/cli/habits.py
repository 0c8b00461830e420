"""What other tools call things, and which of our options does the same: for the error that an unknown option becomes.

One table. A habit is looked up by the option's name without dashes, with - for _; a word without dashes, as ultralytics
takes them (`format=onnx`), counts as the option of that name. Nothing is ever taken in place of our own option.
"""

from __future__ import annotations

import difflib
import re
from argparse import Action
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import NamedTuple

from hamsa_runtime.vocabulary import CHECKPOINTS, PRECISIONS, TARGETS

# What a command knows, by name, such as --fp16: as argparse keeps it.
Options = Mapping[str, Action]

# Names of targets elsewhere.
FORMATS = {
    "engine": "tensorrt",
    "trt": "tensorrt",
    "plan": "tensorrt",
    "ort": "onnx",
    "onnxruntime": "onnx",
    "ir": "openvino",
    "xml": "openvino",
    "tflite": "litert",
    "edgetpu": "litert",
    "mlmodel": "coreml",
    "mlpackage": "coreml",
    "mlprogram": "coreml",
    "pte": "executorch",
    "tfjs": "web",
    "wasm": "web",
    "webgpu": "web",
    "ovms": "openvino-model-server",
}


class Habit(NamedTuple):
    """What is answered.

    Attributes:
        ours: the option that does it, without dashes; empty where there is none, and `text` says why.
        text: the answer; {value|N} is what stood behind the option, or N; {sides|N} the last two numbers of that, and
            {shape|NxC} all of them.
    """

    ours: str
    text: str


# Names elsewhere, our option, and the answer.
# fmt: off
_TABLE = (
    ("half float16 compress-to-fp16", "fp16", "--fp16"),
    ("bfloat16", "bf16", "--bf16"),
    ("fp8 int4 nf4 w4a16", "", "there is none: the precisions are {precisions}"),
    ("quantize quantise int8-mode", "int8", "--int8"),
    ("calib calib-data calibration-data", "calibration", "--calibration {value|PATH}"),
    ("model-path ckpt checkpoint pretrained resume", "weights", "--weights {value|FILE}, with --model NAME of what was trained"),  # noqa: E501
    ("imgsz img-size img input-size image-resolution resolution size", "image-size", "--set image_size={sides|N} for a built-in model; --image-size {sides|N} for one of your own"),  # noqa: E501
    ("imgsz img-size img input-size image-size resize", "top", "there is none: images of any size are scaled as the bundle says"),  # noqa: E501
    ("opset opset-version", "to", "there is none: the file has the opset that the engine of --to reads"),
    ("simplify dynamo optimize onnxsim", "to", "there is none, and none is needed: the graph is written without what simplifiers remove"),  # noqa: E501
    ("nms agnostic-nms", "to", "there is none: what forward returns is what the bundle gives"),
    ("dynamic", "dynamic", "nothing, for a dynamic batch, which is the default; --dynamic INPUT:AXIS=NAME frees other sizes"),  # noqa: E501
    ("batch-size bs b max-batch-size", "batch", "--batch {value|N}"),
    ("input-shape input-shapes shape shapes", "input", "--input {shape|1x3x224x224}, for a model of your own"),
    ("min-shapes opt-shapes max-shapes minshapes optshapes maxshapes", "batch-profile", "--batch-profile MIN,OPT,MAX"),
    ("input-names input-name", "input", "--input NAME:SHAPE:TYPE"),
    ("dynamic-axes", "dynamic", "--dynamic INPUT:AXIS=NAME"),
    ("out output-dir outdir save-dir project out-dir saveengine output-path export-path", "output", "-o {value|DIR}"),
    ("name", "output", "-o {value|DIR}"),
    ("task architecture arch", "model", "--model {value|NAME}: hamsa models lists them"),
    ("model-name-or-path model-name hf-model-id", "model", "--model hf:{value|ID}"),
    ("normalize normalise", "mean", "--mean R,G,B --std R,G,B"),
    ("interpolation resample", "resize", "--resize {value|bicubic}"),
    ("crop-pct crop", "preprocessing", "--preprocessing FILE, with crop_fraction"),
    ("num-classes nc", "set", "--set num_classes={value|N} for a built-in model; of one of your own the factory says it"),  # noqa: E501
    ("classes class-names names", "labels", "--labels FILE, with one class name per line"),
    ("dataset images val source test-data data-path datadir calib-dataset", "data", "--data {value|PATH}"),
    ("atol rtol tolerance threshold", "max-error", "--max-error X, relative to how far the values are apart; hamsa parity --help lists the other limits"),  # noqa: E501
    ("atol rtol tolerance threshold", "to", "there is none: a precision has its limits; hamsa parity takes others, such as --max-error X"),  # noqa: E501
    ("no-parity skip-parity no-check skip-check no-verify no-validate no-test", "to", "there is none: a bundle that was not compared is not written"),  # noqa: E501
    ("bgr rgb channel-order", "mean", "there is none: images are RGB; of a model that takes BGR, forward begins with x.flip(1)"),  # noqa: E501
    ("channels-last nhwc nchw", "image-dtype", "there is none: a model of images takes NCHW, and its bundle pixels as images have them"),  # noqa: E501
    ("bgr rgb channel-order", "top", "there is none: files are read as RGB; arrays have red first, OpenCV's as image[..., ::-1]"),  # noqa: E501
    ("bundle model engine image input source file path", "top", "nothing: hamsa run BUNDLE IMAGE, without options"),
    ("show view display", "top", "there is none: results are printed, and --json writes them for programs"),
    ("html", "report", "--report {value|FILE.html}"),
    ("gpu cuda use-gpu use-cuda device-id gpu-id", "device", "--device GPU, or CUDA with ONNX Runtime: hamsa doctor lists what is here"),  # noqa: E501
    ("num-threads nthreads", "threads", "--threads {value|N}"),
    ("warmup iterations runs repeat num-iters duration", "seconds", "--seconds S: rounds are repeated that long, after warming up"),  # noqa: E501
    ("topk top-k", "top", "--top {value|N}"),
    ("save-txt output o", "save", "--save FOLDER writes the outputs as .npy; --json > FILE what is printed"),
    ("conf iou", "top", "there is none: all probabilities are printed, the best first"),
    ("trust-remote-code", "", "there is none: code that comes with a model of a hub is never run"),
    ("workers jobs j num-workers", "", "there is none: it takes the cores that it needs"),
    ("seed", "", "there is none: an export is the same each time"),
    ("q silent", "quiet", "--quiet"),
    ("m", "model", "--model {value|NAME}"),
    ("w", "weights", "--weights {value|FILE}, with --model NAME of what was trained"),
    ("y yes overwrite force f", "output", "nothing: a bundle that is there is replaced as a whole, once the new one is finished"),  # noqa: E501
    ("config cfg", "recipe", "--recipe FILE, with options of this command"),
    ("debug log-level trace", "verbose", "--verbose"),
    ("log", "log-file", "--log-file FILE"),
)
# fmt: on

# By name: of several, whichever our option is that a command has.
HABITS: dict[str, list[Habit]] = {}
for _names, _ours, _text in _TABLE:
    for _name in _names.split():
        HABITS.setdefault(_name, []).append(Habit(_ours, _text))
PRECISIONS_ELSEWHERE = {
    "half": "fp16",
    "float16": "fp16",
    "16": "fp16",
    "float32": "fp32",
    "bfloat16": "bf16",
    "8": "int8",
}
# Whose answer is another option, or another name, by the value.
OF_PRECISION = ("precision", "dtype", "data-type", "torch-dtype")
OF_EXPORT = "a bundle has its precision from the export: hamsa export"
OF_FORMAT = ("format", "include", "target", "backend", "framework", "export-format", "engine")
OF_TARGET = (*FORMATS, *TARGETS)


def answers(unknown: Sequence[str], options: Options) -> str:
    """What to write instead of words that a command does not know; empty where nobody can tell.

    Args:
        unknown: as argparse leaves them: options, with their values behind them or after =, and other words.
        options: of the command.
    """
    found = [_answer(name, value, options) for name, value in _paired(unknown)]
    return "; ".join(dict.fromkeys(filter(None, found)))


def habit_of(option: str, options: Options) -> str:
    """The same for an option that the command has, which means something else elsewhere."""
    name = _plain(option)
    return next((_shown(habit, "", options) for habit in HABITS.get(name, ()) if habit.ours == name), "")


def _paired(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """('--half', ''), ('--precision', 'fp16'); of other words ('', word)."""
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        name, equals, value = word.partition("=")
        if word.startswith("-"):
            has_value = bool(waiting) and not equals and not waiting[0].startswith("-") and "=" not in waiting[0]
            yield name, waiting.pop(0) if has_value else value
        elif equals and name.isidentifier():
            yield f"--{name}", value
        else:
            yield "", word


def _answer(name: str, value: str, options: Options) -> str:
    if not name:
        return _of_word(value, options)
    plain = _plain(name)
    if value.lower() in ("false", "0", "none") and plain in HABITS:
        return ""  # that nothing is wanted need not be said
    if plain in OF_PRECISION:
        precision = PRECISIONS_ELSEWHERE.get(value.lower(), value.lower())
        text = f"--{precision}" if precision in PRECISIONS else ", ".join(f"--{each}" for each in PRECISIONS)
        return text if "--fp16" in options else f"{OF_EXPORT} {text}"
    if "--to" in options and (plain in OF_FORMAT or (plain in ("f", "t") and value.lower() in OF_TARGET)):
        return f"--to {FORMATS.get(value.lower(), value.lower())}" if value else "--to TARGET"
    if f"--{plain}" in options:  # its name with another number of dashes, or as key=value
        return _own(f"--{plain}", value, options)
    if plain in HABITS:
        return next(filter(None, (_shown(habit, value, options) for habit in HABITS[plain])), "")
    return _nearest(plain, options)


def _own(option: str, value: str, options: Options) -> str:
    """Our option, with the value if it takes one; a model's file belongs to another one."""
    if options[option].nargs == 0:
        return option
    return (_of_file(value) if option in ("--model", "--weights") else "") or f"{option} {value}".strip()


def _nearest(name: str, options: Options) -> str:
    """Of our options first; then of the habits. Dashes are no likeness, and nothing is guessed that is not near."""
    own = {option.lstrip("-"): option for option in options}
    begun = [option for option in own if len(name) > 2 and option.startswith(name)]
    close = begun if len(begun) == 1 else difflib.get_close_matches(name, own, n=1, cutoff=0.7)
    if close:
        return f"did you mean {own[close[0]]!r}?"
    other = difflib.get_close_matches(name, [*HABITS, *OF_PRECISION, *OF_FORMAT], n=1, cutoff=0.8)
    return _answer(other[0], "", options) if other else ""


def _shown(habit: Habit, value: str, options: Options) -> str:
    """The answer; of a habit that the command has no option for, nothing, or whose it is."""
    text = habit.text.replace("{precisions}", ", ".join(PRECISIONS))
    said = {"value": value, "sides": _sides(value), "shape": "x".join(_sizes(value))}
    text = re.sub(r"\{(\w+)\|(.*?)\}", lambda found: said[found[1]] or found[2], text)
    if not habit.ours or f"--{habit.ours}" in options:
        return text
    return f"{OF_EXPORT} {text}" if habit.ours in PRECISIONS else ""


def _sizes(value: str) -> list[str]:
    """'3,224,224', '[3, 224, 224]' or '3x224x224' -> ['3', '224', '224']."""
    return re.findall(r"\d+", value)


def _sides(value: str) -> str:
    """The sides of images among these sizes: one where both are the same."""
    last = _sizes(value)[-2:]
    return last[0] if len(set(last)) == 1 else ",".join(last)


def _of_word(word: str, options: Options) -> str:
    """A word without an option: the model's file, most often."""
    if "--model" not in options:
        return ""
    if found := _of_file(word):
        return found
    return f"--model {word}" if "--weights" in options and (":" in word or word.isidentifier()) else ""


def _of_file(word: str) -> str:
    """Which option a file belongs to, by its name."""
    suffix = PurePath(word).suffix.lower()
    if suffix in CHECKPOINTS:
        return f"--weights {word}, with --model NAME of what was trained"
    if suffix == ".onnx":
        return f"--onnx {word}"
    if suffix == ".toml":
        return f"--recipe {word}"
    return f"--model {PurePath(word).stem}:FACTORY, which is imported and called" if suffix == ".py" else ""


def _plain(option: str) -> str:
    return option.lstrip("-").replace("_", "-").lower()
