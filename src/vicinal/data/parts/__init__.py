"""Images taken apart into an object and its background, once, on disk."""

from vicinal.data.parts.build import Editor, build_parts
from vicinal.data.parts.masks import GivenMasks, MaskProvider, SaliencyMasks, ThresholdMasks
from vicinal.data.parts.store import PartsStore

__all__ = [
    "Editor",
    "GivenMasks",
    "MaskProvider",
    "PartsStore",
    "SaliencyMasks",
    "ThresholdMasks",
    "build_parts",
]
