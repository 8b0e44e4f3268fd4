"""Mix crops of different scales of one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vicinal.core.augmentation import Transform
from vicinal.core.batch import Batch
from vicinal.core.boxes import box_mask
from vicinal.core.card import Card, Options, Paper, Range
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.transforms.image.chunks import in_chunks
from vicinal.transforms.image.resized_crop import draw_boxes, resized_crops

Fold = Literal["mixup", "cutmix"]
#: How many crops an image has where nothing else is asked for.
COUNTS = (2, 3, 4)
#: Memory beside the image: a crop, its grid, and what has been mixed, in float32.
_GROWTH = 16


@dataclass(frozen=True)
class CropMixParams(Params):
    """One row per sample; up to K crops of each, in the order in which they are mixed.

    count: (B,) int64, crops of the image; what is behind is unused.
    start, stop: (B, K, 2) int64, rows and columns of the crops; stop is exclusive.
    kept: (B, K - 1) float32, how much of what was mixed before the second, third, ... crop stays
        outside of the step's box; the crop has the rest.
    inside: (B, K - 1) float32, the same inside of it.
    box_start, box_stop: (B, K - 1, 2) int64, rows and columns of the boxes.
    channels: (B, K - 1, C) int64, which channel of the lighter of the two is shown as first,
        second, ...; None where all stay in their places.
    """

    count: Tensor
    start: Tensor
    stop: Tensor
    kept: Tensor
    inside: Tensor
    box_start: Tensor
    box_stop: Tensor
    channels: Tensor | None = None


class CropMix(Transform):
    """Mix a few crops of one image, each of another scale; the label stays.

    Images are (B, C, H, W) with any number of channels, of 8 or 16 bits or floating; crops are
    enlarged to the image's size. Whole numbers are rounded once, in the end.

    Source: Han, Petersson, Li and Reid, CropMix: Sampling a Rich Input Distribution via Multi-Scale
    Cropping, 2022, and the authors' cropmix.py for ImageNet: k crops whose shares of the area lie
    in the k equal parts of [scale, 1] are mixed one after the other in random order.

    Args:
        scale: least area of a crop, as a share of the image's, in (0, 1].
        ratio: both shapes of the Beta distribution of a step's weights are this divided by the
            number of crops; > 0. Towards 0 one crop is shown. For `fold="mixup"` alone.
        crops: how many, >= 1; None draws 2, 3 or 4 for each image. One is a plain random resized
            crop.
        fold: `mixup` interpolates, `cutmix` pastes a box of one into the other.
        recolour: whether the lighter, or the pasted one has its channels exchanged. Images of one
            channel stay as they are.

    Raises:
        ValueError: a value is out of range, or the way of mixing is unknown; in `apply`, x are no
            images.
    """

    card = Card(
        name="cropmix",
        kind="transform",
        family="transform",
        modality=("image",),
        summary="Mixes a few crops of one image, each of another scale.",
        systems=("mediaug",),
        paper=Paper(
            "CropMix: Sampling a Rich Input Distribution via Multi-Scale Cropping",
            authors="Han, Petersson, Li, Reid",
            venue="arXiv",
            year=2022,
            arxiv="2205.15955",
        ),
        parameters={
            "scale": Range(
                0.01, 0.9, 0.01, valid="(0, 1]", meaning="least area of a crop, as a share"
            ),
            "ratio": Range(
                0.05,
                4.0,
                default=0.4,
                scale="log",
                valid="(0, inf)",
                meaning="evenness of the crops' weights, times the number of crops",
            ),
            "crops": Range(
                1,
                4,
                default=None,
                valid="[1, inf)",
                integer=True,
                meaning="crops of an image; 2, 3 or 4 by default",
            ),
            "fold": Options(("mixup", "cutmix"), "mixup", meaning="how crops are mixed"),
            "recolour": Options(
                (True, False), False, meaning="whether one of the two has its channels exchanged"
            ),
        },
        differs=(
            "the number of crops is drawn per image; in the authors' class the first draw stays",
            "mixed before it is rounded, where the authors round every crop to 8 bits",
            "the box of fold=cutmix follows height and width of images that are not square",
            "agrees with the authors' mixing and torchvision's crops to 1e-5",
        ),
        example="x = vicinal.CropMix()(x)",
        dtypes=("uint8", "float32", "float64", "float16", "bfloat16", "uint16"),
        differentiable=True,
    )

    def __init__(
        self,
        scale: float = 0.01,
        *,
        ratio: float = 0.4,
        crops: int | None = None,
        fold: Fold = "mixup",
        recolour: bool = False,
    ) -> None:
        self.card.check(scale=scale, ratio=ratio, crops=crops, fold=fold, recolour=recolour)
        self.scale = scale
        self.ratio = ratio
        self.crops = crops
        self.fold = fold
        self.recolour = recolour

    def sample(self, batch: Batch, draws: Draws) -> CropMixParams:
        channels, height, width = _image_shape(batch.tensor)
        counts = COUNTS if self.crops is None else (self.crops,)
        most = max(counts)
        count = torch.tensor(counts, device=batch.index.device)
        count = count[draws.below("count", len(counts))]
        # A random order of 0 .. count - 1: the part of [scale, 1] that each crop is from.
        place = torch.arange(most, device=count.device)
        unused = place >= count[:, None]
        part = draws.uniform("order", shape=(most,)).masked_fill(unused, 2.0).argsort(dim=1)
        step = (1 - self.scale) / count[:, None]
        low = self.scale + part.minimum(count[:, None] - 1) * step
        start, stop = draw_boxes(draws, low, low + step, height=height, width=width)
        order = None
        if self.recolour and channels > 1:
            order = draws.uniform("channels", shape=(most - 1, channels)).argsort(dim=2)
        size = torch.tensor([height, width], device=count.device)
        mixing = self._mixing(draws, count, counts=counts, size=size)
        return CropMixParams(count, start, stop, *mixing, order)

    def _mixing(
        self, draws: Draws, count: Tensor, *, counts: Sequence[int], size: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The weights outside and inside of the boxes, and where the boxes begin and end."""
        steps = (max(counts) - 1,)
        if self.fold == "mixup":
            kept = torch.zeros(len(count), *steps, device=count.device)
            for one in counts:
                shape = self.ratio / one
                drawn = draws.beta(f"kept/{one}", shape, shape, shape=steps)
                kept = torch.where((count == one)[:, None], drawn, kept)
            nowhere = torch.zeros(len(count), *steps, 2, dtype=torch.int64, device=count.device)
            return kept, kept, nowhere, nowhere
        side = (1 - draws.uniform("share kept", shape=steps)).double().sqrt()
        half = (side[..., None] * (size / 2)).long()
        centre = draws.below("centre", size, shape=(*steps, 2))
        kept = draws.bernoulli("pasted", 0.5, shape=steps).float()
        return kept, 1 - kept, (centre - half).clamp(min=0), (centre + half).minimum(size)

    def apply(self, batch: Batch, params: CropMixParams) -> Batch:
        _image_shape(batch.tensor)

        def mix(images: Tensor, rows: Tensor) -> Tensor:
            return mixed_crops(images, params[rows])

        rows = torch.arange(len(params), device=params.count.device)
        return batch.replace(x=in_chunks(mix, batch.tensor, rows, growth=_GROWTH))


def mixed_crops(images: Tensor, params: CropMixParams) -> Tensor:
    """The crops of each image, mixed. images: (B, C, H, W). Returns the same shape and type."""
    exact = torch.float64 if images.dtype == torch.float64 else torch.float32
    wide = images.to(exact)
    mixed = resized_crops(wide, params.start[:, 0], params.stop[:, 0])
    for step in range(params.kept.shape[1]):
        rows = (params.count > step + 1).nonzero()[:, 0]
        own = params[rows]
        crop = resized_crops(wide[rows], own.start[:, step + 1], own.stop[:, step + 1])
        before = mixed[rows]
        outside, inside = (one[:, step, None, None] for one in (own.kept, own.inside))
        if own.channels is not None:
            order = own.channels[:, step, :, None, None].expand_as(crop)
            lighter = (outside > 0.5)[:, None]
            crop = torch.where(lighter, crop.gather(1, order), crop)
            before = torch.where(lighter, before, before.gather(1, order))
        box = box_mask(own.box_start[:, step], own.box_stop[:, step], images.shape[2:])
        weight = torch.where(box, inside, outside)[:, None].to(exact)
        mixed = mixed.index_copy(0, rows, torch.lerp(crop, before, weight))
    return mixed.to(images.dtype) if images.is_floating_point() else (mixed + 0.5).to(images.dtype)


def _image_shape(x: Tensor) -> tuple[int, int, int]:
    """Channels, height and width. Raises ValueError unless x are images."""
    if x.dim() != 4:
        raise ValueError(f"x must be images (B, C, H, W), got shape {tuple(x.shape)}")
    channels, height, width = x.shape[1:]
    return channels, height, width
