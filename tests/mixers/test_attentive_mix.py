"""Attentive CutMix: the cells that a network responds to most."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.methods.ground import run
from tests.mixers.test_token_mix import swin
from torch import Tensor, nn

from vicinal import AttentiveMix, Batch, ClassTarget, Draws
from vicinal.core.activation import LastFeatureMap
from vicinal.core.learner import Learner, Setting
from vicinal.core.probe import Features, ask
from vicinal.methods.supervised import Supervised
from vicinal.mixers.cells import CellsParams
from vicinal.models.mlp import MLP
from vicinal.models.small_resnet import SmallResNet

FILE = Path(__file__).parent / "golden" / "attentive_mix_openmixup.json"
GOLDEN = json.loads(FILE.read_text())
PROBE = LastFeatureMap()


def filled(*shape: int, phase: float = 0.0) -> Tensor:
    return (torch.arange(math.prod(shape)) * 0.7 + phase).sin().view(shape)


def telling(features: Tensor, *, size: int = 28) -> Batch:
    """Row i holds i everywhere and has the label i."""
    rows = torch.arange(len(features))
    x = rows.float()[:, None, None, None].expand(-1, 1, size, size)
    return Batch.of(x, rows).replace(evidence={PROBE: features})


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: f"{golden['count']} cells")
def test_cells_images_and_weights_are_those_of_openmixup(golden: dict[str, Any]) -> None:
    # attentivemix.py with the share given, top_k unset and these partners.
    features = filled(4, 6, 7, 7, phase=4.0) + filled(4, 1, 7, 7, phase=1.0)
    x = filled(4, 3, 28, 28)
    batch = Batch.of(x, torch.arange(4)).replace(evidence={PROBE: features})
    mix = AttentiveMix(top=golden["count"])
    drawn = mix.sample(batch, Draws(0, batch.index))
    assert torch.equal(drawn.cells, torch.tensor(golden["cells"]).bool())
    params = CellsParams(torch.tensor([2, 0, 3, 1]), drawn.cells, drawn.extent)
    mixed = mix.apply(batch, params)
    sums = (mixed.x * filled(3, 28, 28, phase=5.0)).sum((1, 2, 3))
    torch.testing.assert_close(sums, torch.tensor(golden["sums"]), atol=1e-4, rtol=1e-5)
    assert isinstance(mixed.target, ClassTarget)
    assert mixed.target.weights is not None
    torch.testing.assert_close(
        mixed.target.weights[:, 0], torch.full((4,), golden["kept"]), atol=1e-6, rtol=0
    )


def test_the_cells_kept_are_each_samples_largest_as_many_as_the_share_says() -> None:
    features = torch.randn(300, 5, 7, 7, generator=torch.Generator().manual_seed(0))
    batch = telling(features)
    draws = Draws(2, batch.index)
    params = AttentiveMix().sample(batch, draws)
    share = draws.beta("share kept", 2.0, 2.0).double()
    count = (share * 49).long().clamp(1, 49)
    assert torch.equal(params.cells.flatten(1).sum(1), count)
    strength = features.mean(1)
    least = strength.where(params.cells, torch.inf).amin((1, 2))
    most = strength.where(~params.cells, -torch.inf).amax((1, 2))
    assert (least > most).all()
    shared = AttentiveMix(scope="batch").sample(batch, draws).cells.flatten(1)
    assert len(shared.sum(1).unique()) == 1
    assert len(shared.unique(dim=0)) == 300


def test_no_less_than_one_and_no_more_than_all_cells_are_kept() -> None:
    batch = telling(torch.rand(4000, 1, 2, 2), size=4)
    count = AttentiveMix(alpha=0.1, cells=2).sample(batch, Draws(0, batch.index)).cells
    count = count.flatten(1).sum(1)
    assert count.unique().tolist() == [1, 2, 3, 4]  # four where the share rounds to one
    assert AttentiveMix(top=9, cells=2).sample(batch, Draws(0, batch.index)).cells.all()


def test_features_of_another_size_are_averaged_over_cells() -> None:
    features = torch.zeros(2, 3, 14, 14)
    features[:, :, 2:4, 4:6] = 1.0
    params = AttentiveMix(top=1).sample(telling(features), Draws(0, torch.arange(2)))
    assert params.cells.nonzero().tolist() == [[0, 1, 2], [1, 1, 2]]


class WithTeacher(Supervised):
    """Asks a network that does not train."""

    def __init__(self) -> None:
        self.probe = LastFeatureMap(network="teacher")
        super().__init__(prepared=AttentiveMix(cells=2, probe=self.probe))

    def start(self, setting: Setting) -> Learner:
        learner = super().start(setting)
        with setting.seeded("teacher"):
            learner.networks["teacher"] = SmallResNet((1, 8, 8), 4, width=4)
        return learner


def test_another_frozen_network_may_be_asked() -> None:
    method = WithTeacher()
    learner, _ = run(method, epochs=1, network=lambda k: MLP((1, 8, 8), k))
    batch = Batch.of(torch.randn(5, 1, 8, 8), torch.arange(5))
    found = ask(method.probes, learner.networks, batch).evidence[method.probe]
    fresh = SmallResNet((1, 8, 8), 4, width=4)
    fresh.load_state_dict(learner.networks["teacher"].state_dict())
    assert torch.equal(found, ask([PROBE], {"model": fresh}, batch).evidence[PROBE])


@pytest.mark.parametrize("make", [swin, lambda k: SmallResNet((1, 64, 64), k, width=4)])
def test_swin_and_convolutional_networks_are_asked(make: Any) -> None:
    batch = Batch.of(torch.randn(3, 1, 64, 64), torch.arange(3))
    mixed = AttentiveMix(cells=2)(ask([PROBE], {"model": make(3)}, batch))
    assert mixed.x.shape == batch.x.shape


def test_a_model_without_feature_maps_is_refused_before_training() -> None:
    def network(outputs: int) -> nn.Module:
        return MLP((1, 8, 8), outputs)

    with pytest.raises(ValueError, match="a feature map needs a convolutional network") as refusal:
        run(Supervised(prepared=AttentiveMix()), network=network)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AttentiveMix(alpha=0.0), "alpha must be in"),
        (lambda: AttentiveMix(top=0), "top must be in"),
        (lambda: AttentiveMix(cells=0), "cells must be in"),
        (lambda: AttentiveMix(probe=Features(when="during", layer="a")), "asked before mixing"),
        (lambda: AttentiveMix()(torch.zeros(2, 1, 4, 4), torch.arange(2)), "needs what"),
        (lambda: AttentiveMix()(telling(torch.zeros(2, 9, 8))), "feature maps .B, C, h, w."),
    ],
)
def test_what_makes_no_sense_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
