"""What bundles are compared with, so that anyone can repeat the comparison: one line each in `PEERS`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

from hamsa_deploy.bench.candidates import Candidate
from hamsa_deploy.bench.peers.dft import dft_peer
from hamsa_deploy.bench.peers.eager import eager_peer
from hamsa_deploy.bench.peers.from_pixels import Original, original_of
from hamsa_deploy.bench.peers.vision_transformer import deit_peer
from hamsa_runtime.manifest import Manifest

PEERS: dict[str, Callable[[Manifest, Path, Original, str | None], Candidate]] = {
    "deit_s": deit_peer,
    "dft": dft_peer,
    "eager": eager_peer,
}


def peers_of(
    names: Sequence[str], first: Manifest, folder: Path, trusted: str | None = None, device: str | None = None
) -> list[Candidate]:
    """Peers of the first bundle.

    Args:
        names: keys of PEERS.
        first: the manifest of the bundle that ratios are to.
        folder: where peers that are files are written, when a batch of them is needed first.
        trusted: the `package.module:factory` that may be imported.
        device: that those run on which run on the first bundle's engine; None for its default.

    Raises:
        InputError: the first bundle has no such peer.
    """
    original = functools.cache(lambda: original_of(first, trusted))  # one for all peers: it may be large
    return [PEERS[name](first, folder / name, original, device) for name in names]
