"""A small transformer, trained from scratch to read digits by patches of 4 x 4."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import timm
import torch
from sklearn.datasets import load_digits
from tests.methods.ground import Observe, make_setting
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR

from vicinal.compare.training import Examples, train
from vicinal.core.method import Method

ROWS = 384


def digits_in_frames() -> Examples:
    """(N, 1, 32, 32) uint8: a digit of 16 x 16 pixels in the middle, black around it."""
    digits = load_digits()
    small = torch.from_numpy(digits.images / 16 * 255).to(torch.uint8)
    small = small.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    return Examples(F.pad(small, (8, 8, 8, 8))[:, None], torch.from_numpy(digits.target).long())


def small_transformer(outputs: int) -> nn.Module:
    """Two blocks of 32 channels over 8 x 8 patches and a class token."""
    found: nn.Module = timm.create_model(
        "vit_tiny_patch16_224",
        num_classes=outputs,
        img_size=32,
        patch_size=4,
        in_chans=1,
        embed_dim=32,
        num_heads=2,
        depth=2,
        mlp_ratio=2,
    )
    nn.init.normal_(found.pos_embed, std=0.5)  # at timm's 0.02 places are learnt late
    return found


def accuracy_of(method: Method, *, seed: int, epochs: int, observe: Observe | None = None) -> float:
    """Of a transformer after some epochs of 384 digits, on the 1,413 others."""
    examples = digits_in_frames()
    order = torch.randperm(len(examples.y), generator=torch.Generator().manual_seed(0))
    rows, rest = order[:ROWS], order[ROWS:]
    plain = make_setting(epochs * ROWS // 32, seed=seed, network=small_transformer)

    def optimiser(parameters: Any) -> Any:
        inner = torch.optim.AdamW(parameters, lr=3e-3, weight_decay=0.03)
        return plain.launcher.setup_optimizers(inner)

    def schedule(inner: Any, over: int) -> LambdaLR:
        warm = over // 10
        return LambdaLR(
            getattr(inner, "optimizer", inner),
            lambda step: min(1, (step + 1) / warm) * (1 + math.cos(math.pi * step / over)) / 2,
        )

    setting = replace(
        plain,
        outputs=10,
        make_optimiser=optimiser,
        make_schedule=schedule,
        prepare=lambda x: (x.float() - 20) / 55,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        learner, _ = train(
            method, setting, examples, rows=rows, batch_size=32, epochs=epochs, observe=observe
        )
    with torch.no_grad(), learner.evaluating():
        output = method.predict(learner, examples.batch(rest, epoch=0, labelled=False))
    return (output.argmax(dim=1) == examples.y[rest]).float().mean().item()
