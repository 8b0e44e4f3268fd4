"""A temperature that is fitted to the end, and what it can and cannot mend."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vicinal.evaluate.calibration import fit_temperature
from vicinal.evaluate.temperature import TemperatureScaling, with_and_without_temperature


def drawn(rows: int, *, classes: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Log probabilities of categorical distributions, and labels drawn from them."""
    generator = torch.Generator().manual_seed(seed)
    logs = (torch.randn(rows, classes, generator=generator) * 2).log_softmax(dim=1)
    return logs, torch.multinomial(logs.exp(), 1, generator=generator)[:, 0]


def nll(logits: Tensor, labels: Tensor) -> float:
    return torch.nn.functional.cross_entropy(logits.double(), labels).item()


def one_step(logits: Tensor, labels: Tensor) -> float:
    """The temperature that one call of the optimiser gets to: what is not a fit."""
    temperature = torch.ones(1, requires_grad=True)
    optimiser = torch.optim.LBFGS([temperature], lr=0.01)

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(logits / temperature, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return temperature.item()


@pytest.mark.parametrize("wanted", [0.3, 0.8, 1.0, 2.7, 20.0])
def test_the_temperature_of_a_known_model_is_recovered_and_by_one_step_it_is_not(
    wanted: float,
) -> None:
    logs, labels = drawn(5000)
    logits = wanted * logs
    assert TemperatureScaling().fit(logits, labels).temperature == pytest.approx(wanted, rel=0.02)
    if abs(math.log(wanted)) > 1:
        assert one_step(logits, labels) != pytest.approx(wanted, rel=0.1)


@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 50),
    classes=st.integers(2, 6),
    scale=st.floats(1e-6, 1e6),
)
def test_it_never_makes_labels_less_likely_nor_changes_a_prediction(
    seed: int, rows: int, classes: int, scale: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, classes, generator=generator) * scale
    labels = torch.randint(classes, (rows,), generator=generator)
    fitted = TemperatureScaling().fit(logits, labels)
    after = nll(logits.double() / fitted.temperature, labels)
    assert after <= nll(logits, labels) * (1 + 1e-12)
    assert torch.equal(fitted(logits.double()).argmax(dim=1), logits.argmax(dim=1))
    for factor in (0.99, 1.01):
        other = min(max(fitted.temperature * factor, fitted.lowest), fitted.highest)
        assert after <= nll(logits.double() / other, labels) * (1 + 1e-9)


def test_between_the_bounds_it_is_the_best_temperature() -> None:
    logs, labels = drawn(300)
    found = TemperatureScaling().fit(3 * logs, labels).temperature
    assert found == pytest.approx(fit_temperature(3 * logs, labels), rel=1e-8)


def test_where_there_is_no_best_temperature_it_is_a_bound() -> None:
    right = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    labels = torch.tensor([0, 1])
    assert TemperatureScaling().fit(right, labels).temperature == 1e-4
    wrong = TemperatureScaling(highest=50.0).fit(right, 1 - labels)
    assert wrong.temperature == 50.0
    nothing = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0)) * 10
    coin = torch.arange(2000) % 2
    best = TemperatureScaling().fit(nothing, coin)
    assert nll(best(nothing), coin) == pytest.approx(math.log(2), abs=0.01)


def test_a_report_fits_on_some_rows_and_judges_others() -> None:
    logs, labels = drawn(8000)
    logits, judged = 3 * logs, slice(4000, None)
    report = with_and_without_temperature(
        logits[judged],
        labels[judged],
        fitting_logits=logits[:4000],
        fitting_labels=labels[:4000],
    )
    alone = TemperatureScaling().fit(logits[:4000], labels[:4000])
    assert report.temperature == alone.temperature
    assert report.raw.nll == nll(logits[judged], labels[judged])
    assert report.scaled.nll < report.raw.nll - 0.3
    assert report.scaled.ece < report.raw.ece / 4
    # Rows that are judged have no say: other labels for them leave the temperature as it is.
    other = with_and_without_temperature(
        logits[judged],
        labels[judged].roll(1),
        fitting_logits=logits[:4000],
        fitting_labels=labels[:4000],
    )
    assert other.temperature == report.temperature


def test_what_cannot_be_fitted_is_refused() -> None:
    logits, labels = torch.zeros(3, 2), torch.tensor([0, 1, 0])
    with pytest.raises(ValueError, match=r"logits must be \(N, C\) and labels \(N,\)"):
        TemperatureScaling().fit(logits, labels[:2])
    with pytest.raises(ValueError, match=r"with N > 0"):
        TemperatureScaling().fit(logits[:0], labels[:0])
    with pytest.raises(ValueError, match=r"whole numbers in \[0, 2\)"):
        TemperatureScaling().fit(logits, labels + 1)
    with pytest.raises(ValueError, match=r"whole numbers in \[0, 2\)"):
        TemperatureScaling().fit(logits, labels.float())
    with pytest.raises(ValueError, match="must be finite"):
        TemperatureScaling().fit(logits / 0, labels)
    with pytest.raises(ValueError, match="0 < lowest <= 1 <= highest, got 2"):
        TemperatureScaling(lowest=2.0)
    with pytest.raises(ValueError, match=r"temperature must be in \[0.0001, 10000.0\], got 0"):
        TemperatureScaling(temperature=0.0)
