"""What a model keeps between calls, carried from one inference to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hamsa_runtime.manifest import State
from hamsa_runtime.vocabulary import STATE_FILE


class CarriedStates:
    """The states of one stream of calls.

    Args:
        folder: of the bundle, whose files have been verified.
        states: as the manifest has them.

    Attributes:
        initial: what the model was exported with, by the name of the graph's input.
        values: what the graph takes for them next, by the name of its input.
    """

    def __init__(self, folder: Path, states: Sequence[State]) -> None:
        self._states = states
        self.initial: Mapping[str, np.ndarray] = {
            state.input: initial_value(folder / STATE_FILE.format(i), state) for i, state in enumerate(states)
        }
        self.values: Mapping[str, np.ndarray] = self.initial

    def reset(self) -> None:
        """Back to what the model was exported with."""
        self.values = self.initial

    def take(self, outputs: Mapping[str, np.ndarray]) -> None:
        """Keep what the graph gave for them; nobody else writes to these arrays."""
        self.values = {state.input: outputs[state.output] for state in self._states}


def initial_value(file: Path, state: State) -> np.ndarray:
    """What a state starts as."""
    dtype = np.dtype(state.dtype)
    if not state.stored:
        return np.zeros(state.shape, dtype)
    stored = np.fromfile(file, dtype.newbyteorder("<"))
    return stored.reshape(state.shape).astype(dtype)
