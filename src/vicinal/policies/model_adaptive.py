"""MADAug's policy: a layer on the model's features chooses each image's operations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vicinal.core.augmentation import Transform
from vicinal.core.batch import Batch
from vicinal.core.card import Card, Paper, Range
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.core.straight_through import straight_through
from vicinal.models.penultimate import Penultimate
from vicinal.transforms.image.graded import SEVENTEEN, Bank, apply_graded, signed
from vicinal.transforms.image.operations import check_images


@dataclass(frozen=True)
class ModelAdaptiveParams(Params):
    """One row per sample; k operations of a bank of K, applied from the first to the last.

    operation: (B, k) int64, places in the bank.
    magnitude: (B, k) float32, in [0, 1].
    sign: (B, k) float32, 1 or -1; 1 where an operation has no direction.
    place: (B, k, 2) float32 in [0, 1), where an operation happens if it does somewhere.
    weight: (B, K) float32, the probability of every operation; rows sum to 1.
    """

    operation: Tensor
    magnitude: Tensor
    sign: Tensor
    place: Tensor
    weight: Tensor


class ModelAdaptive(Transform):
    """Apply operations that are chosen for each image from the features a model has of it.

    Images are (B, C, H, W) with one or three channels, uint8 or floating in [0, 1].

    Source: Hou et al., When to Learn What, ICCV 2023, and the authors' adaptive_augmentor.py.

    Args:
        num_ops: operations an image, from 0 to the size of the bank; drawn without replacement.
        temperature: of the softmax over the operations, > 0; the larger, the more even.
        jitter: magnitudes are moved by up to this much, in [0, 1], and cut off at 0 and 1.
        head: from features (B, D) to (B, 2 K): the logits of the magnitudes, and those of the
            operations. It asks the probe `Penultimate`. Without a head every operation is as likely
            as any other, and magnitudes lie around one half.
        bank: the operations; the authors' seventeen by default.

    Raises:
        ValueError: a value is out of range.
    """

    card = Card(
        name="madaug",
        kind="policy",
        family="policies",
        modality=("image",),
        summary="Applies operations of a bank that a network chooses for each image.",
        systems=("madaug",),
        paper=Paper(
            "When to Learn What: Model-Adaptive Data Augmentation Curriculum",
            authors="Hou, Zhang, Zhou",
            venue="ICCV",
            year=2023,
            arxiv="2309.04747",
        ),
        parameters={
            "num_ops": Range(
                1, 4, default=2, valid="[0, inf)", integer=True, meaning="operations an image"
            ),
            "temperature": Range(
                0.5,
                10.0,
                default=3.0,
                scale="log",
                valid="(0, inf)",
                meaning="evenness of the choice; the authors have 3 on CIFAR, 2 on SVHN",
            ),
            "jitter": Range(
                0.0, 0.5, default=0.3, valid="[0, 1]", meaning="how far magnitudes are moved"
            ),
        },
        needs=("features, where it has a head to read them",),
        differs=(
            "colours and warps in the arithmetic of torchvision's tensor kernels, where the "
            "authors' code calls Pillow: auto_contrast, contrast and color differ by up to a level",
        ),
        example="x = vicinal.ModelAdaptive()(x)",
        dtypes=("uint8", "float32", "float64", "float16", "bfloat16"),
    )

    def __init__(
        self,
        num_ops: int = 2,
        temperature: float = 3.0,
        *,
        jitter: float = 0.3,
        head: nn.Module | None = None,
        bank: Bank = SEVENTEEN,
    ) -> None:
        self.card.check(num_ops=num_ops, temperature=temperature, jitter=jitter)
        if num_ops > len(bank):
            raise ValueError(f"num_ops must be at most the bank's {len(bank)}, got {num_ops}")
        self.num_ops = num_ops
        self.temperature = temperature
        self.jitter = jitter
        self.head = head
        self.bank = bank
        self.probes = () if head is None else (Penultimate(),)

    def predict(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What the head says of each image.

        Args:
            batch: with the features among its evidence, if there is a head.

        Returns:
            (B, K) magnitudes in [0, 1], and (B, K) logits of the operations.
        """
        if self.head is None:
            even = torch.zeros(len(batch), len(self.bank), device=batch.index.device)
            return even.sigmoid(), even
        told: Tensor = self.head(batch.evidence[self.probes[0]]).float()
        count = len(self.bank)
        return told[:, :count].sigmoid(), told[:, count:]

    def sample(self, batch: Batch, draws: Draws) -> ModelAdaptiveParams:
        check_images(batch.tensor)
        magnitude, logits = self.predict(batch)
        weight = (logits / self.temperature).softmax(dim=1)
        # The largest of log-probabilities plus Gumbel noise are a draw without replacement.
        unit = draws.uniform("operation", shape=(len(self.bank),))
        keys = weight.detach().log() - (-unit.log()).log()
        operation = keys.topk(self.num_ops, dim=1).indices
        jitter = draws.uniform("jitter", -self.jitter, self.jitter, shape=(self.num_ops,))
        moved = (magnitude.gather(1, operation) + jitter).clamp(0, 1)
        return self._placed(operation, moved, weight, draws)

    def sample_all(self, batch: Batch, draws: Draws) -> ModelAdaptiveParams:
        """All K operations for every image, at the magnitudes predicted: what `relaxed` mixes.

        Weights are those at temperature 1; they and the magnitudes carry gradients to the head.
        """
        magnitude, logits = self.predict(batch)
        every = torch.arange(len(self.bank), device=magnitude.device).expand_as(magnitude)
        return self._placed(every, magnitude, logits.softmax(dim=1), draws)

    def _placed(
        self, operation: Tensor, magnitude: Tensor, weight: Tensor, draws: Draws
    ) -> ModelAdaptiveParams:
        count = operation.shape[1]
        negative = draws.bernoulli("negative", 0.5, shape=(count,))
        negative &= signed(self.bank).to(operation.device)[operation]
        return ModelAdaptiveParams(
            operation=operation,
            magnitude=magnitude,
            sign=1.0 - 2.0 * negative,
            place=draws.uniform("place", shape=(count, 2)),
            weight=weight,
        )

    def apply(self, batch: Batch, params: ModelAdaptiveParams) -> Batch:
        images = batch.tensor.clone()
        for step in range(params.operation.shape[1]):
            at = torch.tensor([step], device=params.operation.device)
            images = self._each(images, params, at)
        return batch.replace(x=images)

    def relaxed(
        self,
        batch: Batch,
        params: ModelAdaptiveParams,
        *,
        prepare: Callable[[Tensor], Tensor] = torch.clone,
    ) -> Batch:
        """The mixture of all operations by their weights, through which the head can learn.

        Every pixel has a gradient of 1 to the magnitude of its operation.

        Args:
            batch: as for `apply`.
            params: from `sample_all`.
            prepare: from images to what the model sees, where the gradient of 1 is meant.

        Raises:
            ValueError: the params are of some operations only.
        """
        count = len(self.bank)
        if params.operation.shape[1] != count:
            raise ValueError(
                f"relaxed mixes all {count} operations, got {params.operation.shape[1]}: "
                "draw the params with sample_all"
            )
        every = torch.arange(count, device=params.operation.device)
        seen = prepare(self._each(batch.tensor.repeat_interleave(count, dim=0), params, every))
        seen = straight_through(seen, params.magnitude.flatten())
        weight = params.weight.gather(1, params.operation).to(seen.dtype)
        mixed = torch.einsum(
            "bk,bk...->b...", weight, seen.view(len(batch), count, *seen.shape[1:])
        )
        return batch.replace(x=mixed)

    def _each(self, images: Tensor, params: ModelAdaptiveParams, steps: Tensor) -> Tensor:
        """An operation for each image: images (B * S, C, H, W) have those of S steps in turn."""

        def taken(field: Tensor) -> Tensor:
            return field.detach().index_select(1, steps).flatten(0, 1)

        return apply_graded(
            images,
            self.bank,
            operation=taken(params.operation),
            magnitude=taken(params.magnitude),
            sign=taken(params.sign),
            place=taken(params.place),
        )
