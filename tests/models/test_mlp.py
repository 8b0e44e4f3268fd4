from __future__ import annotations

import pytest
import torch

from vicinal.models.mlp import MLP


def test_two_hidden_layers_of_128_by_default_named_as_layers() -> None:
    model = MLP((30,), 2)
    modules = dict(model.named_modules())
    assert model.mixable_layers == ("hidden.0", "hidden.1")
    sizes = [tuple(modules[layer][0].weight.shape) for layer in model.mixable_layers]
    assert [*sizes, tuple(model.head.weight.shape)] == [(128, 30), (128, 128), (2, 128)]


def test_a_batch_of_one_row_trains() -> None:
    model = MLP((3,), 1)
    before = model(torch.ones(1, 3))
    before.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_samples_with_more_dimensions_are_flattened() -> None:
    model = MLP((2, 3, 4), 5)
    x = torch.randn(7, 2, 3, 4)
    assert torch.equal(model(x), model(x.flatten(1)))


def test_dropout_acts_in_training_alone_and_by_default_not_at_all() -> None:
    x = torch.randn(4, 10)
    plain, dropping = MLP((10,), 2), MLP((10,), 2, dropout=0.5)
    assert torch.equal(plain(x), plain(x))
    assert not torch.equal(dropping(x), dropping(x))
    dropping.eval()
    assert torch.equal(dropping(x), dropping(x))


@pytest.mark.parametrize(
    "settings", [{"width": 0}, {"depth": 0}, {"dropout": 1.0}, {"dropout": -0.1}]
)
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    (name,) = settings
    with pytest.raises(ValueError, match=f"{name} must be in"):
        MLP((3,), 2, **settings)  # type: ignore[arg-type]
