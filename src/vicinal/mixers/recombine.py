"""Put objects on backgrounds of other images; the label goes with the objects."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vicinal.core.augmentation import Mixer
from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.params import Params
from vicinal.core.target import ClassTarget, SoftTarget
from vicinal.mixers.layers import composed, extents, visible, warped

#: How often objects that hide one another are placed anew.
TRIES = 4
#: An object of which less than this many pixels is seen is hidden.
SEEN = 1.0

#: Bytes of images that are composed at a time.
CHUNK_BYTES = 2 << 20

_PARTS = ("object", "background", "usable")


@dataclass(frozen=True)
class RecombineParams(Params):
    """One row per output sample; K objects of each, those behind first.

    object: (B, K) int64, the rows of the dataset that they are from.
    variant: (B, K) int64, 0 for the object as it is, from 1 on an edited version.
    background: (B,) int64, the row of the dataset that lies behind.
    filled: (B,) bool, whether its own object is taken out of it.
    affine: (B, K, 2, 3) float32, from a place of the result to the place of the object's image that
        is seen there; columns and rows, in pixels from the centre.
    """

    object: Tensor
    variant: Tensor
    background: Tensor
    filled: Tensor
    affine: Tensor


class Recombine(Mixer):
    """Show each object, or an edited version of it, somewhere on the background of another image.

    Labels are those of the objects, weighted by the areas that are seen of them; backgrounds have
    none. Images are (B, C, H, W) uint8. The batch, or its pool, brings the parts of every image as
    `extras`: `object`, `background` and `usable`, as `PartsStore.attach` makes them. Images without
    a usable object are left as they are, and lend neither object nor background. An object that
    touches the border is neither resized nor moved away from it: where it ends is not known.

    Source: De-DA, Decoupled Data Augmentation for Improving Image Classification, 2024, its online
    part; places and probabilities are not in what is published and are choices made here.

    Cost: one warp and one composition of K objects, and a warp of their opacity when places are
    drawn.

    Args:
        swap: how often the background is that of another image, of another class where there is
            one; in [0, 1]. Otherwise it is the own one.
        edited: how often an edited version is shown, where there are any; in [0, 1].
        place: how far an object may be put from where it was, as a share of the room that leaves
            three quarters of it in the image; in [0, 1].
        scale: largest factor that an object is made larger or smaller by, >= 1.
        flip: how often an object is mirrored, in [0, 1].
        objects: 1, or 2 for another image's object in front of the own.

    Raises:
        ValueError: a value is out of range; in `sample`, the batch brings no parts.
        TypeError: in `apply`, images are not uint8.
    """

    def __init__(
        self,
        swap: float = 0.5,
        *,
        edited: float = 0.5,
        place: float = 1.0,
        scale: float = 1.25,
        flip: float = 0.0,
        objects: Literal[1, 2] = 1,
    ) -> None:
        for name, share in (("swap", swap), ("edited", edited), ("place", place), ("flip", flip)):
            if not 0 <= share <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {share}")
        if not scale >= 1:
            raise ValueError(f"scale must be at least 1, got {scale}")
        if objects not in (1, 2):
            raise ValueError(f"objects must be 1 or 2, got {objects}")
        self.swap = swap
        self.edited = edited
        self.place = place
        self.scale = scale
        self.flip = flip
        self.objects = objects
        self._parts: Batch | None = None

    def fit(self, data: Batch) -> Recombine:
        """The same, with the parts of all images at hand.

        Args:
            data: all training rows, with their parts as extras.

        Raises:
            ValueError: it brings no parts.
        """
        _require_parts(data)
        fitted = copy.copy(self)
        fitted._parts = data
        return fitted

    def _with_pool(self, batch: Batch) -> Batch:
        return batch if self._parts is None else batch.replace(pool=self._parts)

    def sample(self, batch: Batch, draws: Draws) -> RecombineParams:
        batch = self._with_pool(batch)
        pool, own = batch.partners(batch.index)
        _require_parts(pool)
        usable = pool.extras["usable"]
        at = own[:, None]
        if self.objects == 2:
            other = _another(pool, own, draws.within("second"), by_class=False)
            at = torch.stack([own, torch.where(usable[own], other, own)], dim=1)
        versions = pool.extras["object"].shape[1]
        variant = torch.zeros_like(at)
        if versions > 1:
            drawn = 1 + draws.below("variant", versions - 1, shape=at.shape[1:])
            changed = draws.bernoulli("edited", self.edited, shape=at.shape[1:])
            variant = torch.where(changed & usable[at], drawn, 0)
        swapped = draws.bernoulli("swap", self.swap) & usable[own]
        there = _another(pool, own, draws.within("background"), by_class=True)
        background = torch.where(swapped, there, own)
        opacity = pool.extras["object"][at, variant, -1].float() / 255  # (B, K, H, W)
        affine = self._placed(opacity, usable[at], draws)
        return RecombineParams(
            object=pool.index[at],
            variant=variant,
            background=pool.index[background],
            filled=usable[own],
            affine=affine,
        )

    def _placed(self, opacity: Tensor, usable: Tensor, draws: Draws) -> Tensor:
        """Where the objects go, drawn again while one of them is hidden. Returns (B, K, 2, 3)."""
        affine: Tensor | None = None
        hidden = torch.ones(len(opacity), dtype=torch.bool, device=opacity.device)
        for attempt in range(TRIES):
            drawn = self._place(opacity, usable, draws.within(f"place {attempt}"))
            again = hidden[:, None, None, None]
            affine = drawn if affine is None else torch.where(again, drawn, affine)
            seen = visible(warped(opacity[:, :, None], affine)[:, :, 0])
            hidden = (seen.sum(dim=(2, 3)) < SEEN).any(dim=1)
            if not hidden.any():
                break
        assert affine is not None
        return affine

    def _place(self, opacity: Tensor, usable: Tensor, draws: Draws) -> Tensor:
        """Maps from the result to the objects, hidden or not. Returns (B, K, 2, 3)."""
        low, high, touching = extents(opacity)  # (B, K, 2), rows and columns
        shape = low.shape[1:2]
        still = (touching.any(dim=2) | ~usable)[..., None]
        factor = draws.uniform("scale", -1.0, 1.0, shape=shape).mul(math.log(self.scale)).exp()
        factor = torch.where(still, 1.0, factor[..., None])
        mirrored = draws.bernoulli("flip", self.flip, shape=shape) & usable
        sign = 1 - 2 * torch.stack([torch.zeros_like(mirrored), mirrored], dim=2).float()
        canvas = torch.tensor(opacity.shape[2:], device=low.device) / 2
        middle, half = (low + high) / 2 - canvas, (high - low) / 2 * factor
        # Three quarters of an extent stay inside: its middle is half of its half from the border.
        room = (canvas - 0.5 * half).clamp(min=0)
        anywhere = draws.uniform("place", -1.0, 1.0, shape=low.shape[1:]) * room
        after = torch.lerp(sign * middle, anywhere, self.place)
        slope = sign / factor
        offset = torch.where(touching | ~usable[..., None], 0.0, middle - slope * after)
        affine = slope.new_zeros(*slope.shape[:2], 2, 3)
        affine[..., 0, 0], affine[..., 1, 1] = slope[..., 1], slope[..., 0]
        affine[..., 0, 2], affine[..., 1, 2] = offset[..., 1], offset[..., 0]
        return affine

    def partners(self, params: RecombineParams) -> Tensor:
        return torch.cat([params.object, params.background[:, None]], dim=1).reshape(-1)

    def readdressed(self, params: RecombineParams, rows: Tensor) -> RecombineParams:
        both = rows.view(len(params), -1)
        return RecombineParams(
            both[:, :-1], params.variant, both[:, -1], params.filled, params.affine
        )

    def apply(self, batch: Batch, params: RecombineParams) -> Batch:
        if batch.tensor.dtype != torch.uint8:
            raise TypeError(f"x must be raw images in uint8, got {batch.tensor.dtype}")
        whole = self._with_pool(batch)
        pool, at = whole.partners(params.object.reshape(-1))
        _require_parts(pool)
        _, behind = whole.partners(params.background)
        at = at.view(params.object.shape)
        out = torch.empty_like(batch.tensor)
        area = params.affine.new_zeros(at.shape)
        # Some images at a time: what is in between is a dozen times their size.
        size = max(1, CHUNK_BYTES // max(1, 4 * out[:1].numel() * at.shape[1]))
        step = size if out.device.type == "cpu" else max(1, len(out))
        for some in torch.split(torch.arange(len(out), device=at.device), step):
            own = params[some]
            objects = pool.extras["object"][at[some], own.variant].float()  # (B, K, C + 1, H, W)
            opacity = objects[:, :, -1:] / 255
            layers = warped(torch.cat([objects[:, :, :-1] * opacity, opacity], dim=2), own.affine)
            background = torch.where(
                own.filled[:, None, None, None],
                pool.extras["background"][behind[some]],
                pool.tensor[behind[some]],
            )
            x, seen = composed(layers, background.float())
            out[some] = (x + 0.5).clamp(0, 255).to(torch.uint8)
            area[some] = seen.sum(dim=(2, 3))
        target = batch.target
        if target is not None and pool.target is not None:
            target = pool.target[at[:, 0]]
            if at.shape[1] == 2:
                front = area[:, 1] / area.sum(dim=1).clamp(min=1e-6)
                target = target.mix(pool.target[at[:, 1]], 1 - front)
        return batch.replace(x=out, target=target)


def _another(pool: Batch, own: Tensor, draws: Draws, *, by_class: bool) -> Tensor:
    """Another usable image for each, of another class where that is asked for and there is one.

    Returns:
        (B,) int64, positions in the pool; the own one where there is no other.
    """
    usable = pool.extras["usable"]
    kind = torch.arange(len(pool), device=own.device)
    if by_class and isinstance(pool.target, ClassTarget | SoftTarget):
        kind = _classes(pool.target)
    # Usable images ordered by kind: those of another are all that lie before and behind the own's.
    order = usable.nonzero()[:, 0]
    order = order[kind[order].argsort(stable=True)]
    if not len(order):
        return own
    ordered = kind[order]
    start = torch.searchsorted(ordered, kind[own])
    size = torch.searchsorted(ordered, kind[own], right=True) - start
    others = len(order) - size
    place = draws.below("another", others.clamp(min=1))
    place = torch.where(place < start, place, place + size)
    found = torch.where(others > 0, order[place.clamp(max=len(order) - 1)], own)
    if by_class and bool((others == 0).any()):  # data of one class
        return torch.where(others > 0, found, _another(pool, own, draws, by_class=False))
    return found


def _classes(target: ClassTarget | SoftTarget) -> Tensor:
    """The class with the largest weight. Returns (P,) int64."""
    if isinstance(target, SoftTarget):
        return target.probabilities.argmax(dim=1)
    if target.weights is None:
        return target.labels[:, 0].contiguous()
    heaviest = target.weights.argmax(dim=1, keepdim=True)
    return target.labels.gather(1, heaviest)[:, 0]


def _require_parts(batch: Batch) -> None:
    missing = [name for name in _PARTS if name not in batch.extras]
    if missing:
        raise ValueError(
            f"the batch brings no {' or '.join(missing)}: attach a store of parts, as "
            "PartsStore(folder).attach(batch) does"
        )
