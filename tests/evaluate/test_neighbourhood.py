"""How sure a model is on spheres around samples."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from vicinal import Draws
from vicinal.evaluate.neighbourhood import NeighbourhoodConfidence, around

GOLDEN = Path(__file__).parent / "golden" / "neighbourhood_authors.json"


def test_the_curves_are_the_authors_on_their_directions() -> None:
    golden = json.loads(GOLDEN.read_text())
    network = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))
    network.load_state_dict({name: torch.tensor(w) for name, w in golden["weights"].items()})
    x, labels = torch.tensor(golden["points"]), torch.tensor(golden["labels"])
    noise = torch.tensor(golden["noise"])  # (N, R - 1, S, D): theirs draws anew for each radius
    for place, radius in enumerate(golden["radii"]):
        found = around(network, x, labels, noise[:, max(0, place - 1)], radii=[radius])
        wanted = {
            name: torch.tensor([one[name][place] for one in golden["result"]])
            for name in ("gap", "confidence")
        }
        torch.testing.assert_close(found.gap[0], wanted["gap"], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.confidence[0], wanted["confidence"], atol=1e-5, rtol=0)


def draws(x: Tensor) -> Draws:
    return Draws(0, torch.arange(len(x)))


def test_points_lie_on_the_sphere_in_all_directions() -> None:
    seen: list[Tensor] = []

    def model(points: Tensor) -> Tensor:
        seen.append(points)
        return points.flatten(1)[:, :2]

    x = torch.full((2, 3, 4), 5.0)
    measure = NeighbourhoodConfidence([0.0, 2.0], samples=800, rows=300)
    measure(model, x, torch.tensor([0, 1]), draws=draws(x))
    assert max(map(len, seen)) == 300
    points = torch.cat(seen).view(2, 2, 800, 12) - 5
    assert (points[0] == 0).all()
    torch.testing.assert_close(points[1].norm(dim=2), torch.full((2, 800), 2.0))
    assert points[1].mean(dim=1).abs().max() < 0.1
    assert not torch.equal(points[1, 0], points[1, 1])


def test_a_straight_gap_stays_the_same_and_confidence_goes_to_a_half() -> None:
    slope = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    x = torch.tensor([[1.5, 0.0, 0.0]])
    measure = NeighbourhoodConfidence([0.0, 1.0, 1000.0], samples=4000)
    found = measure(lambda points: points @ slope.T, x, torch.tensor([0]), draws=draws(x))
    assert found.gap[0].item() == pytest.approx(3.0)
    assert found.gap[1].item() == pytest.approx(3.0, abs=0.06)
    # A coordinate of a point on a sphere in three dimensions is uniform, so that the mean of the
    # sigmoid of 2 (1.5 + u) has a closed form.
    mean = (math.log1p(math.exp(5)) - math.log1p(math.exp(1))) / 4
    assert found.confidence[0].item() == pytest.approx(1 / (1 + math.exp(-3)))
    assert found.confidence[1].item() == pytest.approx(mean, abs=0.005)
    assert found.confidence[2].item() == pytest.approx(0.5, abs=0.03)


def test_the_mode_and_the_gradients_of_the_model_are_left_alone() -> None:
    network = nn.Linear(3, 2)
    network.eval()
    x = torch.randn(4, 3)
    labels = torch.zeros(4, dtype=torch.int64)
    found = NeighbourhoodConfidence([1.0], samples=5)(network, x, labels, draws=draws(x))
    assert not network.training
    assert not found.confidence.requires_grad
    again = NeighbourhoodConfidence([1.0], samples=5)(network, x, labels, draws=draws(x))
    assert torch.equal(found.confidence, again.confidence)


def test_what_makes_no_neighbourhood_is_refused() -> None:
    x, labels = torch.zeros(2, 3), torch.tensor([0, 1])
    with pytest.raises(ValueError, match="radii must be at least one number"):
        NeighbourhoodConfidence([])
    with pytest.raises(ValueError, match="radii must be at least one number"):
        NeighbourhoodConfidence([-1.0])
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        NeighbourhoodConfidence([1.0], samples=0)
    measure = NeighbourhoodConfidence([1.0], samples=2)
    with pytest.raises(ValueError, match="equal lengths, got 2, 1 and 2"):
        measure(nn.Linear(3, 2), x, labels[:1], draws=draws(x))
    with pytest.raises(ValueError, match="C >= 2"):
        measure(nn.Linear(3, 1), x, labels, draws=draws(x))
