"""Two iterations of the authors' AdAutoMix, AutoMix and SAMix, replayed with our own.

`golden/` was made with their files and stand-ins for mmcv's wrappers: AdAutoMix.py and
Ada_mix_pine.py of github.com/JinXins/Adversarial-AutoMixup at commit 9d6fd12, automix.py and
pmix_block.py of github.com/Westlake-AI/openmixup at commit 37e1372. Where SAMix matches masks to
weights, both mixtures were given one weight, since theirs takes the wrong one of the two.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tests.methods.ground import make_setting
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from vicinal.core.batch import Batch
from vicinal.core.method import Learner
from vicinal.core.target import Target
from vicinal.methods.mask_training import MaskTraining, masks_of, twin_of
from vicinal.methods.samix import SAMix
from vicinal.mixers.attention_mask import AttentionMaskParams, constant_near_ends, masks_of_scores

GOLDEN = Path(__file__).parent / "golden"
CLASSES = 4


class AuthorsNetwork(nn.Module):
    """The network that the authors' code was run with; their heads are its last layer's halves."""

    mixable_layers = ("features",)

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.ReLU()
        )
        self.rest = nn.Sequential(nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Linear(8, 2 * CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.head(self.rest(self.features(x)).mean(dim=(2, 3)))
        return output


@dataclasses.dataclass
class Iteration:
    """What their code and ours found in one iteration.

    theirs: as stored, in the order of rows that ours has.
    masks, mixed: (B, N, H, W) and (B, C, H, W), of the generator's and the model's mixtures.
    loss: both losses together.
    """

    theirs: dict[str, Tensor]
    masks: dict[str, Tensor]
    mixed: dict[str, Tensor]
    loss: Tensor


def start(method: MaskTraining, stored: dict[str, Tensor]) -> Learner:
    """Our networks with their weights, and an optimiser for each as theirs."""
    rows = Batch.of(stored["0.x"], stored["0.y"])
    setting = dataclasses.replace(
        make_setting(1000, network=lambda _: AuthorsNetwork()),
        prepare=lambda x: x,
        part=lambda _: rows,
        make_optimiser=lambda parameters: torch.optim.SGD(
            parameters, lr=0.1, momentum=0.9, weight_decay=1e-4
        ),
        make_schedule=lambda optimiser, _: LambdaLR(optimiser, lambda _: 1.0),
        outputs=CLASSES,
    )
    learner = method.start(setting)
    learner.model.load_state_dict(network_state(stored, "before", "q"), strict=False)
    twin_of(learner).network.load_state_dict(network_state(stored, "before", "k"), strict=False)
    learner.networks["generator"].load_state_dict(generator_state(stored, "before"))
    method.enter(learner, method.phases()[0], 1000)
    return learner


def network_state(stored: dict[str, Tensor], when: str, which: str) -> dict[str, Tensor]:
    """Their trunk and both heads, named as ours. which: `q` or `k`."""
    trunk = f"{when}.backbone_{which}."
    state = {
        name.removeprefix(trunk): tensor
        for name, tensor in stored.items()
        if name.startswith(trunk)
    }
    for part in ("weight", "bias"):
        heads = [f"{when}.head_{head}_{which}.fc.{part}" for head in ("one", "mix")]
        if all(head in stored for head in heads):
            state[f"head.{part}"] = torch.cat([stored[head] for head in heads])
    return state


def generator_state(stored: dict[str, Tensor], when: str) -> dict[str, Tensor]:
    """Their generator, named as ours; a convolution's last channel is that of the weights."""
    if f"{when}.mix_block.value.conv.1.conv.weight" in stored:
        return joint_generator_state(stored, when)
    state: dict[str, Tensor] = {}
    for ours, theirs in (
        ("query", ("conv_q.conv", "query.conv")),
        ("key", ("conv_k.conv",)),
        ("value", ("conv_v", "value")),
    ):
        for name in theirs:
            kernel = stored.get(f"{when}.mix_block.{name}.weight")
            if kernel is not None:
                state[f"{ours}.features.weight"] = kernel[:, :6, 0, 0]
                state[f"{ours}.features.bias"] = stored[f"{when}.mix_block.{name}.bias"]
                if kernel.shape[1] > 6:
                    state[f"{ours}.weight.weight"] = kernel[:, 6:, 0, 0]
    return state


def joint_generator_state(stored: dict[str, Tensor], when: str) -> dict[str, Tensor]:
    """SAMix's generator, named as ours."""
    names = {
        "query": "query.conv",
        "key": "key.conv",
        "value.0": "value.conv.0.conv",
        "value.1": "value.conv.0.bn",
        "value.3": "value.conv.1.conv",
    }
    return {
        f"{ours}.{part}": stored[name].flatten(1)
        if part == "weight" and ours != "value.1"
        else stored[name]
        for ours, theirs in names.items()
        for part in ("weight", "bias")
        if (name := f"{when}.mix_block.{theirs}.{part}") in stored
    }


def replay(method: MaskTraining, name: str) -> tuple[Learner, list[Iteration], dict[str, Tensor]]:
    """Two iterations with their images, partners and weights."""
    stored = load_file(GOLDEN / f"{name}.safetensors")
    learner = start(method, stored)
    iterations = []
    for step in range(2):
        theirs = {
            key.removeprefix(f"{step}."): tensor
            for key, tensor in stored.items()
            if key.startswith(f"{step}.")
        }
        iterations.append(iterate(method, learner, theirs))
        learner.step += 1
    return learner, iterations, stored


def iterate(method: MaskTraining, learner: Learner, theirs: dict[str, Tensor]) -> Iteration:
    """One iteration. Their mixtures are put in the order of their first images."""
    batch = Batch(x=theirs["x"], target=Target.of(theirs["y"]), index=torch.arange(6))
    batch, judged = method.heard(learner, batch)
    masks = masks_of(learner)
    params: dict[str, AttentionMaskParams] = {}
    for place, who in enumerate(("generator", "model")):
        order = theirs[who][:, 0].argsort()
        at = theirs[who][order]
        own = theirs["weights"] if len(theirs["weights"]) == 3 else theirs["weights"][place]
        weights = own if own.dim() else torch.stack([own, 1 - own])
        weights = weights.expand(6, -1)
        for key in {"generator": ("mask", "mixed"), "model": ("model mask", "model mixed")}[who]:
            theirs[key] = theirs[key][order]
        scores = masks.generator(batch.evidence[masks.probe], at, weights)
        params[who] = AttentionMaskParams(at[:, 1:], weights, scores)
    shown = constant_near_ends(params["model"].detach(), method.margin)
    if isinstance(method, SAMix):
        shown = dataclasses.replace(shown, matched=torch.full((6,), method.matched == 1))
    loss, _ = method.model_loss(learner, batch, shown)
    generator_loss = method.generator_loss(learner, batch, params["generator"], judged)
    found = {"mask": params["generator"].detach(), "model mask": params["model"].detach()}
    mixtures = {"mixed": params["generator"].detach(), "model mixed": shown}
    iteration = Iteration(
        theirs,
        {
            key: masks_of_scores(one.scores, 8, 8, upsampling=masks.upsampling)
            for key, one in found.items()
        },
        {key: masks.apply(batch, one).tensor for key, one in mixtures.items()},
        (loss + generator_loss).detach(),
    )
    learner.update(loss, generator=generator_loss)
    twin_of(learner).update(learner.model, 0.999)
    return iteration


def expect_the_same(
    learner: Learner, iterations: list[Iteration], stored: dict[str, Tensor]
) -> None:
    """Masks, mixtures and losses of both iterations, and all weights after them."""
    close: dict[str, Any] = {"atol": 1e-5, "rtol": 1e-5}
    for one in iterations:
        for key in ("mask", "model mask"):
            torch.testing.assert_close(one.masks[key], one.theirs[key], **close)
        for key in ("mixed", "model mixed"):
            torch.testing.assert_close(one.mixed[key], one.theirs[key], **close)
        torch.testing.assert_close(one.loss, one.theirs["loss"][0], **close)
    for network, state in (
        (learner.model, network_state(stored, "after", "q")),
        (twin_of(learner).network, network_state(stored, "after", "k")),
        (learner.networks["generator"], generator_state(stored, "after")),
    ):
        ours = network.state_dict()
        for key, tensor in state.items():
            if "running" not in key:
                torch.testing.assert_close(ours[key], tensor, **close)
