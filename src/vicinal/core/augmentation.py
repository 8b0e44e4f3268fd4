"""The one idea: a distribution over parameters plus a deterministic function of them."""

from __future__ import annotations

import dataclasses
import inspect
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from vicinal.core import registry
from vicinal.core.batch import Batch
from vicinal.core.card import Card
from vicinal.core.draws import Draws
from vicinal.core.finite import need_finite
from vicinal.core.params import Params
from vicinal.core.probe import Probe
from vicinal.core.target import Target

if TYPE_CHECKING:
    from typing_extensions import Self


class Augmentation(ABC):
    """Samples parameters, one row per output sample, and applies them.

    A subclass that declares a `card` is registered by it. Nothing changes on the object after
    `__init__`.
    """

    card: ClassVar[Card]
    #: What `sample` needs to know from a model; the training method asks, `batch.evidence` has the
    #: answers.
    probes: tuple[Probe, ...] = ()
    #: Whether `sample` and `apply` need a batch whose pool is all of the training rows.
    pooled: bool = False
    #: Whether `apply` writes its result to `batch.out` where that is given and can be used.
    writes_out: ClassVar[bool] = False
    #: Whether `fit` has to see the training rows before it can sample.
    unfitted: bool = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "card" in cls.__dict__:
            registry.register(cls)

    def fit(self, data: Batch) -> Self:
        """The same augmentation, knowing what it has to know of the training rows. data: all."""
        return self

    @abstractmethod
    def sample(self, batch: Batch, draws: Draws) -> Any:
        """Make every random decision. Returns Params with a row for each output sample."""

    @abstractmethod
    def apply(self, batch: Batch, params: Any) -> Batch:
        """Carry the decisions out. Pure: same params, same result; the input is left as it is."""

    def carries(self, kind: str) -> bool:
        """Whether there is a rule for targets of a kind: the card says so."""
        card = getattr(type(self), "card", None)
        return card is not None and kind in card.targets

    def augment(self, batch: Batch, draws: Draws) -> tuple[Batch, Params]:
        """Sample and apply. Returns the new batch, and the params that made it."""
        params = self.sample(batch, draws)
        return self.apply(batch, params), params

    def __call__(
        self,
        x: Any,
        y: Tensor | Target | None = None,
        *,
        draws: Draws | None = None,
        generator: torch.Generator | None = None,
        out: Tensor | None = None,
        check_finite: bool = False,
    ) -> Any:
        """Sample and apply.

        Args:
            x: the inputs, or a Batch.
            y: their labels, or a Target.
            draws: where numbers come from, for the rows of this batch.
            generator: where they come from if no draws are given; torch's global generator by
                default.
            out: where the result is written, a tensor like x: memory kept from batch to batch, or x
                itself where it is not needed any more. New memory by default.
            check_finite: whether to look through all inputs for NaN and infinity first.

        Returns:
            The new Batch for a Batch; (x, target) if labels are given, and x alone if not.

        Raises:
            TypeError: the target says something of places, and there is no rule for its kind.
            ValueError: both draws and generator are given, out is not like x, or values are not
                finite where that is checked.
        """
        if draws is not None and generator is not None:
            raise ValueError("pass draws or generator, not both")
        batch = x if isinstance(x, Batch) else Batch.of(x, y)
        if check_finite:
            need_finite(batch)
        target = batch.target
        if target is not None and target.placed and not self.carries(target.kind):
            raise TypeError(f"{type(self).__name__} has no rule for targets of kind {target.kind}")
        if draws is None:
            draws = Draws.from_generator(generator, batch.index)
        if out is not None:
            batch.replace(out=out)  # refused unless it is like x
            batch = batch.replace(out=out if self.writes_out else None)
        result, _ = self.augment(batch, draws)
        if out is not None and result.x is not out:
            result = result.replace(x=out.copy_(result.x))
        if isinstance(x, Batch):
            return result
        return result.x if y is None else (result.x, result.target)

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments and their values, which are kept under the same names."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.settings().items())
        return f"{type(self).__name__}({settings})"


class Transform(Augmentation):
    """An augmentation of one sample at a time; the target stays as it is."""


class Mixer(Augmentation):
    """An augmentation that makes one sample of several, inputs and targets together."""

    def partners(self, params: Any) -> Tensor:
        """The rows of the dataset that are mixed in.

        Returns:
            (M,) int64, those of the first sample first; a row may be repeated.
        """
        partner: Tensor = params.partner
        return partner.reshape(-1)

    def readdressed(self, params: Any, rows: Tensor) -> Any:
        """The same params with the partners looked up elsewhere.

        Where two samples have the same partner, each in a view of its own, the pool holds both
        views, and rows of the dataset cannot tell them apart.

        Args:
            params: of some samples.
            rows: (M,) int64, in the order of `partners`.
        """
        return dataclasses.replace(params, partner=rows.view_as(params.partner))
