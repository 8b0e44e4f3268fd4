from __future__ import annotations

import torch
from torch import Tensor, nn

from vicinal.models.rehearsal import rehearse


def test_a_rehearsal_leaves_weights_statistics_modes_and_hooks_as_they_were() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    model.train()
    model[1].eval()  # frozen, as in fine-tuning
    before = {name: value.clone() for name, value in model.state_dict().items()}
    _, heard = rehearse(model, (3,), layers=["0", "2"])
    assert [module.training for module in model] == [True, False, True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    assert {layer: len(outputs) for layer, outputs in heard.items()} == {"0": 1, "2": 1}


def test_modes_and_hooks_are_put_back_after_an_error() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(5, 2))
    try:
        rehearse(model, (3,), layers=["0"])
    except RuntimeError as error:
        assert "mat1 and mat2" in str(error)  # noqa: PT017
    assert model.training
    assert not model[0]._forward_hooks


def test_a_layer_that_runs_twice_is_heard_twice_and_one_that_does_not_never() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.unused = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = self.layer(self.layer(x))
            return output

    output, heard = rehearse(Twice(), (3,), layers=["layer", "unused"])
    assert [len(heard["layer"]), len(heard["unused"])] == [2, 0]
    assert torch.equal(heard["layer"][1], output)
