"""MergeMix: the tokens that are looked at most, once those that are alike were merged."""

from __future__ import annotations

from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.merged_attention import MergedAttention
from vicinal.core.probe import Probe
from vicinal.mixers.cells import Scope
from vicinal.mixers.evidence import asked, on_grid
from vicinal.mixers.pairing import PERMUTATION, Pairing
from vicinal.mixers.top_cells import TopCells


class KeepMerged(TopCells):
    """Keep the tokens that the class token looks at most, and show the partner in all others.

    Source: Jin et al., MergeMix, in OpenMixup's mergemix.py: floor(kept * T) of the T tokens are
    kept, and labels mix by area.

    Args:
        alpha: both shapes of the Beta distribution of the share kept; > 0.
        tokens: along each axis; scores of another grid are averaged over them.
        merged: share of the tokens that are merged away before the last block, in [0, 1).
        scope: `sample` draws a share for every sample, `batch` one for all of them.
        probe: puts out (B, h, w) scores of tokens before the batch is mixed, in place of the
            attention after merging.
        pairing: who is mixed with whom.
    """

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        tokens: int = 14,
        merged: float = 0.5,
        scope: Scope = "sample",
        probe: Probe | None = None,
        pairing: Pairing = PERMUTATION,
    ) -> None:
        super().__init__(tokens, scope=scope, pairing=pairing)
        self.alpha = alpha
        self.tokens = int(tokens)
        self.merged = merged
        self.probe = MergedAttention(share=merged) if probe is None else probe
        if self.probe.when != "before":
            raise ValueError(f"the probe must be asked before mixing, got {self.probe}")
        self.probes = (self.probe,)

    def own_count(self, draws: Draws, total: int) -> Tensor:
        return (draws.beta("share kept", self.alpha, self.alpha).double() * total).long()

    def maps(self, batch: Batch) -> Tensor:
        return on_grid(asked(batch, self.probe, "MergeMix"), (self.cells, self.cells))
