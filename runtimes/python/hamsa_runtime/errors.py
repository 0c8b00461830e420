"""The exception family of hamsa_runtime and hamsa_deploy, each class with the exit code of the commands.

Every message says what was found, what was expected, the likely cause and the way out.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Iterable, Mapping


def _escapes(kept: str) -> Mapping[int, str]:
    """What stands for characters that a terminal obeys, that end lines or turn them round, or that are no UTF-8."""
    codes = [*range(0x20), *range(0x7F, 0xA0), *range(0x2028, 0x202F), *range(0x2066, 0x206A), *range(0xD800, 0xE000)]
    return {code: repr(chr(code))[1:-1] for code in codes if chr(code) not in kept}


_IN_LINES, _IN_A_LINE = _escapes(kept="\n\t"), _escapes(kept="")


def printable(text: str, *, lines: bool = False) -> str:
    """A text from elsewhere (a name, a label, what an engine said) with all escaped that a terminal obeys.

    Args:
        text: of any characters.
        lines: keep line breaks and tabs.
    """
    return text.translate(_IN_LINES if lines else _IN_A_LINE)


class HamsaError(Exception):
    """Base of all errors raised on purpose.

    Args:
        found: what is wrong, naming the file, node or layer.
        expected: what should have been there.
        cause: the likely reason.
        fix: what the user can do now.
    """

    exit_code = 1

    def __init__(self, found: str, *, expected: str = "", cause: str = "", fix: str = "") -> None:
        # They hold names and texts of files, and go to terminals.
        found, expected, cause, fix = (printable(text, lines=True) for text in (found, expected, cause, fix))
        self.found, self.expected, self.cause, self.fix = found, expected, cause, fix
        lines = [found]
        lines += [f"  expected: {expected}"] if expected else []
        lines += [f"  likely cause: {cause}"] if cause else []
        lines += [f"  try: {fix}"] if fix else []
        super().__init__("\n".join(lines))

    @property
    def parts(self) -> dict[str, str]:
        """As documents have them."""
        return {"found": self.found, "expected": self.expected, "cause": self.cause, "fix": self.fix}

    def __reduce__(self) -> tuple[Callable[[], HamsaError], tuple[()]]:
        """From process to process with all its parts, which are keywords: exceptions by themselves keep positions."""
        return functools.partial(type(self), **self.parts), ()


class InputError(HamsaError):
    """Bad usage or bad input: an option, a file, an image, an array."""

    exit_code = 2


class UnsupportedTransformError(InputError):
    """A transform with a length, dimension or normalisation that cannot be compiled."""

    def at(self, where: str) -> UnsupportedTransformError:
        """The same error, naming the place in the user's model."""
        return UnsupportedTransformError(self.found + where, expected=self.expected, cause=self.cause, fix=self.fix)


class ParityError(HamsaError):
    """The exported model does not compute what the PyTorch model computes."""

    exit_code = 3


class MissingError(HamsaError):
    """A package or device that was asked for is not here. Nothing is ever installed or substituted."""

    exit_code = 4


class BuildError(HamsaError):
    """An engine's own converter or compiler failed."""

    exit_code = 5


class EngineClosedError(HamsaError):
    """An engine was used after `close()`."""

    exit_code = 2


def unknown_name(kind: str, name: str, valid: Iterable[str], elsewhere: Mapping[str, str] | None = None) -> InputError:
    """The error for a misspelt name: what is valid, and the nearest of them."""
    names = sorted(valid)
    hint = nearest(name, names, elsewhere)
    return InputError(f"unknown {kind} {name!r}", expected="one of " + ", ".join(names), fix=hint)


def nearest(name: str, valid: Iterable[str], elsewhere: Mapping[str, str] | None = None) -> str:
    """A hint naming the valid name closest to `name`, or an empty string when none is close.

    Args:
        name: that was given.
        valid: names.
        elsewhere: what other tools call them, and which of ours that is.
    """
    known = {each.lower(): each for each in valid} | dict(elsewhere or {})
    close = [name.lower()] if name.lower() in known else difflib.get_close_matches(name.lower(), known, n=1)
    return f"did you mean {known[close[0]]!r}?" if close else ""
