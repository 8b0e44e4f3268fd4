"""Reinforced datasets: params of augmentations and a teacher's output for them, never pixels."""

from __future__ import annotations

from vicinal.data.reinforced.dataset import ReinforcedDataset
from vicinal.data.reinforced.reader import ReinforcedStore
from vicinal.data.reinforced.replay import Replay
from vicinal.data.reinforced.teacher import Teacher, ensemble
from vicinal.data.reinforced.top_k import TopK
from vicinal.data.reinforced.writer import reinforce

__all__ = [
    "ReinforcedDataset",
    "ReinforcedStore",
    "Replay",
    "Teacher",
    "TopK",
    "ensemble",
    "reinforce",
]
