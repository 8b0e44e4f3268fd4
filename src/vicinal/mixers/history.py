"""Pasting an earlier batch into this one."""

from __future__ import annotations

import torch

from vicinal.core.augmentation import Mixer
from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.mixers.paste import PasteParams, Scope, boxes, pasted_share, spatial_sizes
from vicinal.mixers.resized import Interpolation, paste_resized


class PasteHistory(Mixer):
    """Paste the image at the same position of the pool, whole and resized, into a box.

    The pool is an earlier batch, as it went into the model; labels mix by area. Params name the
    partners by their rows in the dataset, but not what had been pasted into them: to replay a
    batch, replay the earlier ones first.

    Source: Yang et al., RecursiveMix, NeurIPS 2022, section 3.1, and the authors' utils.py.

    Args:
        alpha: the largest share of the area that a box covers, before it is cut at the border.
        interpolation: of the resized image.
        scope: `sample` draws a box for every sample, `batch` one for all of them.
    """

    def __init__(
        self,
        alpha: float = 0.5,
        *,
        interpolation: Interpolation = "nearest",
        scope: Scope = "sample",
    ) -> None:
        self.alpha = alpha
        self.interpolation: Interpolation = interpolation
        self.scope = scope

    def sample(self, batch: Batch, draws: Draws) -> PasteParams:
        sizes = spatial_sizes(batch.tensor)
        pool = batch if batch.pool is None else batch.pool
        place = torch.arange(len(batch), device=batch.index.device) % len(pool)
        source = draws.shared() if self.scope == "batch" else draws
        covered = source.uniform("share covered", 0, self.alpha)
        centre = source.below("centre", sizes, shape=(len(sizes),))
        start, stop = boxes(1 - covered, centre, sizes)
        return PasteParams(pool.index[place], start, stop)

    def apply(self, batch: Batch, params: PasteParams) -> Batch:
        pool, at = batch.partners(params.partner)
        target = batch.target
        if target is not None and pool.target is not None:
            given = pasted_share(params, spatial_sizes(batch.tensor))
            target = target.mix(pool.target[at], 1 - given, given)
        whole = torch.tensor(spatial_sizes(pool.tensor), device=at.device).expand_as(params.stop)
        mixed = paste_resized(
            batch.tensor,
            pool.tensor,
            at,
            start=params.start,
            stop=params.stop,
            source_start=torch.zeros_like(whole),
            source_stop=whole,
            interpolation=self.interpolation,
        )
        return batch.replace(x=mixed, target=target)
