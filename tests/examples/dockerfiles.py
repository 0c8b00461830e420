"""What Dockerfiles say, without Docker."""

from __future__ import annotations

from pathlib import Path


def instructions(path: Path) -> list[tuple[str, str]]:
    """Each instruction, and what follows it, lines joined."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(name, rest) for name, _, rest in (line.strip().partition(" ") for line in joined.splitlines()) if name]


def following(path: Path, name: str) -> list[str]:
    """What follows each `name`."""
    return [rest for each, rest in instructions(path) if each == name]


def copies(path: Path) -> list[tuple[list[str], str]]:
    """Sources in the context, and destination, of each COPY; what another stage has made is none of them."""
    found = [rest.split() for rest in following(path, "COPY") if "--from=" not in rest]
    named = [[word for word in words if not word.startswith("--")] for words in found]
    return [(words[:-1], words[-1]) for words in named]
