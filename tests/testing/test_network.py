from __future__ import annotations

import pytest
import torch

from vicinal.core.activation import ClassActivation
from vicinal.core.probe import Saliency, ask
from vicinal.testing.network import Network
from vicinal.testing.samples import CLASSES, SHAPES, make_batch


@pytest.mark.parametrize("modality", sorted(SHAPES.keys() - {"points"}))
@pytest.mark.parametrize(("kind", "outputs"), [("classes", CLASSES), ("regression", 1)])
def test_it_takes_samples_of_every_modality(modality: str, kind: str, outputs: int) -> None:
    batch = make_batch(modality, 3, kind=kind)
    assert Network.of(batch)(batch.tensor).shape == (3, outputs)


def test_points_of_scenes_get_outputs_each() -> None:
    batch = make_batch("points", 3)
    points = len(batch.x["position"].values)
    assert Network.of(batch)(batch.x).shape == (points, CLASSES)


def test_its_weights_are_the_same_every_time_and_none_is_drawn() -> None:
    state = torch.get_rng_state()
    batch = make_batch("image", 3)
    first, second = Network.of(batch), Network.of(batch)
    assert torch.equal(first(batch.tensor), second(batch.tensor))
    assert torch.equal(state, torch.get_rng_state())


def test_it_answers_probes_differently_for_every_sample() -> None:
    batch = make_batch("image", 3)
    probes = (Saliency(), ClassActivation())
    found = ask(probes, {"model": Network.of(batch)}, batch).evidence
    for probe in probes:
        maps = found[probe]
        assert maps.shape == (3, *SHAPES["image"][1:])
        assert not torch.allclose(maps[0], maps[1])
        assert (maps.std(dim=(1, 2)) > 0).all()
