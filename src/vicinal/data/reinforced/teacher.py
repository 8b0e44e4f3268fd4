"""Who judges the augmented samples of a store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vicinal.core.modes import in_mode


@dataclass(frozen=True)
class Teacher:
    """Whatever gives probabilities for augmented samples.

    name: for people.
    fingerprint: tells teachers apart that may judge differently.
    judge: augmented samples (B, ...), raw, to probabilities (B, C), rows sum to 1.
    """

    name: str
    fingerprint: str
    judge: Callable[[Tensor], Tensor]


def ensemble(
    networks: Sequence[nn.Module], *, prepare: Callable[[Tensor], Tensor], name: str
) -> Teacher:
    """A teacher whose probabilities are the mean of some networks' at temperature 1.

    Source: Faghri et al., Reinforce Data, Multiply Impact, ICCV 2023, section 3.

    Args:
        networks: at least one; they give logits (B, C), and are asked in evaluation mode.
        prepare: raw samples to what the networks take.
        name: for people.

    Raises:
        ValueError: there is no network.
    """
    networks = tuple(networks)
    if not networks:
        raise ValueError("a teacher needs at least one network, got none")
    digest = hashlib.sha256()
    for network in networks:
        for key, tensor in network.state_dict().items():
            digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())

    def judge(x: Tensor) -> Tensor:
        with torch.no_grad(), in_mode(networks, training=False):
            prepared = prepare(x)
            shares = [network(prepared).float().softmax(dim=1) for network in networks]
        return torch.stack(shares).mean(dim=0)

    return Teacher(name, digest.hexdigest(), judge)
