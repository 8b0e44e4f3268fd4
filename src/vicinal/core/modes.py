"""Training and evaluation mode of networks, put back layer by layer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def in_mode(networks: Iterable[nn.Module], *, training: bool) -> Iterator[None]:
    """While it is open, networks are in one mode; afterwards every layer is in its own again.

    `network.train(mode)` would put a whole network back into one mode, frozen layers with it.

    Args:
        networks: whose modes change.
        training: the mode.
    """
    networks = list(networks)
    modes = {module: module.training for network in networks for module in network.modules()}
    try:
        for network in networks:
            network.train(training)
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
