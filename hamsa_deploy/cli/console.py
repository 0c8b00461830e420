"""The terminal of all commands: consoles, progress, and how an exception becomes a message and an exit code.

Results go to stdout; progress, notes and errors go to stderr.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import json
import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType
from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from hamsa_deploy import __version__
from hamsa_deploy.cli.packages import PACKAGES, missing_package, too_old
from hamsa_deploy.cli.parser import Parser
from hamsa_runtime.cli.log_file import LOG, logged
from hamsa_runtime.cli.parser import command_words
from hamsa_runtime.errors import HamsaError, MissingError, ParityError, printable
from hamsa_runtime.interrupts import interruptible

INTERNAL_ERROR = 1
INTERRUPTED = 130
# A compilation makes many objects and drops few: looked through 700 objects at a time, it takes a sixth longer; 50,000
# at a time, a twentieth, most of it for what the imports leave. hamsa_s needs 5 of 1,390 MiB more for it.
GARBAGE = (1_000_000, 20, 20)
# Libraries that warn through logging; the default handler would put their warnings on the terminal.
NOISY = ("torch", "onnxscript", "onnx_ir", "openvino")

# Of what json leaves as it is.
JSON_ESCAPES = {code: f"\\u{code:04x}" for code in range(0x7F, 0x206A) if printable(chr(code)) != chr(code)}

Command = Callable[[Any, "Terminal"], int]


class PlainConsole(Console):
    """Names and texts of files are shown, whatever they hold: of control characters their escapes, and no markup."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """What rich renders."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text, lines=True), style, control)


class Terminal:
    """Where a command prints.

    Args:
        quiet: show nothing but errors.
        as_json: stdout belongs to `write_json`.
        verbose: show tracebacks and the libraries' warnings.
    """

    def __init__(self, *, quiet: bool = False, as_json: bool = False, verbose: bool = False) -> None:
        self.verbose, self.as_json, self.quiet = verbose, as_json, quiet
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # an ASCII terminal gets a question mark, not a crash
                stream.reconfigure(errors="replace")
        self.out = PlainConsole(highlight=False, markup=False, quiet=quiet or as_json, record=True)
        self.err = PlainConsole(highlight=False, markup=False, stderr=True, quiet=quiet)
        self._errors = PlainConsole(highlight=False, markup=False, stderr=True)
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        """Something that the user should know while the command works; said once."""
        if message in self.notes:
            return
        self.notes.append(message)
        LOG.info("note: %s", message)
        self.err.print(Text.assemble(("note  ", "yellow"), message), soft_wrap=True)

    def show_error(self, error: HamsaError) -> None:
        """Found, expected, likely cause, and what to try."""
        text = Text.assemble(("error  ", "bold red"), (error.found, "bold"))
        rows = {"expected": error.expected, "likely cause": error.cause, "try": error.fix}
        for label, value in rows.items():
            if value:
                text.append(f"\n  {label}: ", "cyan")
                text.append(value)
        LOG.error("%s", error.found, exc_info=sys.exc_info()[0] is not None)
        self._show_traceback()
        self._errors.print(text, soft_wrap=True)

    def show_bug(self, error: Exception) -> None:
        """One line for an exception that nobody meant to raise."""
        LOG.error("not meant to be raised", exc_info=True)
        self._show_traceback()
        first = (str(error).strip() or "no message").splitlines()[0]
        hint = "" if self.verbose else "; --verbose shows where"
        text = f"{type(error).__name__}: {first} (this is a bug in hamsa-deploy{hint})"
        self._errors.print(Text.assemble(("error  ", "bold red"), text), soft_wrap=True)

    def show_line(self, text: str) -> None:
        """A line that is shown even when all else is quiet."""
        LOG.info(text)
        self._errors.print(text, soft_wrap=True)

    def write_json(self, document: Mapping[str, Any]) -> None:
        """The result, for programs."""
        text = json.dumps(document, indent=2, ensure_ascii=False)
        LOG.info("%s", text)
        sys.stdout.write(text.translate(JSON_ESCAPES) + "\n")

    def _show_traceback(self) -> None:
        if self.verbose:
            self._errors.print_exception()

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """While it lasts, the log of hamsa_deploy becomes notes, and other libraries' warnings are hidden."""
        log, handler = logging.getLogger("hamsa_deploy"), _Notes(self)
        level = log.level
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        try:
            with contextlib.nullcontext() if self.verbose else _libraries_hushed():
                yield
        finally:
            log.removeHandler(handler)
            log.setLevel(level)


class _Notes(logging.Handler):
    def __init__(self, terminal: Terminal) -> None:
        super().__init__()
        self._terminal = terminal

    def emit(self, record: logging.LogRecord) -> None:
        self._terminal.note(record.getMessage())


@contextlib.contextmanager
def _libraries_hushed() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in NOISY]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)


@contextlib.contextmanager
def _logged(options: Any, words: Sequence[str], terminal: Terminal) -> Iterator[None]:
    """While it lasts, what happens goes to the file of --log-file, too: with --verbose also what libraries say."""
    with logged(options.log_file, words, f"hamsa-deploy {__version__}", [""] if terminal.verbose else []):
        root, shown = logging.getLogger(), logging.StreamHandler()
        if terminal.verbose and options.log_file is not None:
            root.addHandler(shown)  # the terminal's own is the root's only as long as that has no other
        try:
            yield
        finally:
            root.removeHandler(shown)
        if text := terminal.out.export_text():
            LOG.info("result\n%s", text)


def run(parser: Parser, command: Command, argv: list[str] | None, *, with_any_versions: bool = False) -> int:
    """Parse the arguments, run the command, and return its exit code, whatever happens.

    A package that every export needs and that is too old is an error beforehand, unless the command is to tell of it.
    """
    terminal = Terminal()
    # Before it ends, Python looks for garbage in all that torch.export has left: 1 to 3 seconds, after Ctrl-C as well.
    atexit.register(gc.freeze)
    gc.set_threshold(*GARBAGE)
    try:
        options = parser.options_from(argv)
        terminal = Terminal(quiet=options.quiet, as_json=options.json, verbose=options.verbose)
        with _logged(options, command_words(parser.prog, argv), terminal):
            return _reporting(lambda: _work(command, options, terminal, with_any_versions), terminal)
    except HamsaError as error:
        return _reported(error, terminal)


def _work(command: Command, options: Any, terminal: Terminal, with_any_versions: bool) -> int:
    if not with_any_versions:
        _refuse_old_packages()
    return command(options, terminal)


def _reporting(work: Callable[[], int], terminal: Terminal) -> int:
    """The exit code of the work, or of what it raises."""
    try:
        with terminal.listening(), interruptible():
            return work()
    except KeyboardInterrupt:
        terminal.show_line("interrupted; nothing was written")
        return INTERRUPTED
    except HamsaError as error:
        return _reported(error, terminal)
    except ModuleNotFoundError as error:
        missing = missing_package(error)
        return _reported(missing, terminal) if missing else _bug(error, terminal)
    except Exception as error:  # noqa: BLE001  # the border: a message and an exit code, not a traceback
        return _bug(error, terminal)


def _refuse_old_packages() -> None:
    for package in PACKAGES:
        if package.needed and (error := too_old(package)):
            raise error


def _reported(error: HamsaError, terminal: Terminal) -> int:
    terminal.show_error(error)
    _write_error(error, error.exit_code, terminal)
    return error.exit_code


def _bug(error: Exception, terminal: Terminal) -> int:
    if old := [each for each in map(too_old, PACKAGES) if each]:  # of one engine: only where something went wrong
        text = f"{type(error).__name__}: {error}"
        return _reported(MissingError(text, expected=old[0].expected, cause=old[0].found, fix=old[0].fix), terminal)
    terminal.show_bug(error)
    _write_error(HamsaError(f"{type(error).__name__}: {error}"), INTERNAL_ERROR, terminal)
    return INTERNAL_ERROR


def _write_error(error: HamsaError, exit_code: int, terminal: Terminal) -> None:
    if terminal.as_json:
        verdict = "failed" if isinstance(error, ParityError) else "error"
        terminal.write_json({"verdict": verdict, "exit_code": exit_code, "error": error.parts})


class Stages:
    """Shows the stages of a job: a spinner each while it runs, or one line each where there is no terminal.

    A context manager; calling it with a stage's name gives the context manager around that stage, as
    `pipeline.export` wants it.

    Attributes:
        seconds: how long each finished stage took.
    """

    def __init__(self, terminal: Terminal, descriptions: Mapping[str, str]) -> None:
        self._console, self._descriptions = terminal.err, descriptions
        self.seconds: dict[str, float] = {}
        self._live = Progress(
            SpinnerColumn(finished_text="[green]✓[/]"),
            TextColumn("{task.description}"),
            _Seconds(),
            console=self._console,
            transient=True,  # the summary repeats the times
            disable=not self._console.is_terminal or terminal.quiet,
        )

    def __enter__(self) -> Stages:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    @contextlib.contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        text = f"{stage:<10} {self._descriptions.get(stage, '')}"
        LOG.info("%s", text)
        task = self._live.add_task(text, total=1)
        start = time.perf_counter()
        try:
            yield
        except BaseException:
            self._console.print(_line("✗", "red", text, time.perf_counter() - start))
            raise
        self.seconds[stage] = time.perf_counter() - start
        LOG.info("%s finished after %.1f s", stage, self.seconds[stage])
        self._live.update(task, completed=1)
        if not self._console.is_terminal:
            self._console.print(_line("✓", "green", text, self.seconds[stage]))


class _Seconds(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_time or task.elapsed or 0:6.1f} s", "cyan")


def grid() -> Table:
    """Two columns without lines: labels, and values that may wrap."""
    columns = Table.grid(padding=(0, 2))
    columns.add_column(no_wrap=True)
    columns.add_column(overflow="fold")
    return columns


def table(first: str, *others: str, justify: JustifyMethod = "right") -> Table:
    """A table with a line below its head; all columns but the first are justified to the right. Names that are too long
    for the terminal go on in the next line: cut, those of layers or folders would all be the same."""
    columns = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="cyan")
    columns.add_column(first, overflow="fold")
    for name in others:
        columns.add_column(name, justify=justify)
    return columns


def _line(mark: str, style: str, text: str, seconds: float) -> Text:
    return Text.assemble((mark, style), f" {text:<60}", (f"{seconds:6.1f} s", "cyan"))
