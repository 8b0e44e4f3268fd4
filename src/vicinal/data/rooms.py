"""Rooms of noisy shapes that keep company: a task for networks that classify points."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from vicinal.core.ragged import Ragged

#: The shapes, by name; those at places 2 i and 2 i + 1 keep company.
SHAPES = ("sphere", "cube", "cylinder", "box", "cone", "pyramid", "ring", "frame")
#: Points of a shape, and how far they lie off it.
POINTS, NOISE = 24, 0.02

Points = NDArray[np.float64]


def make_rooms(
    count: int, *, seed: int = 0, swapped: bool = False, noise: float = NOISE
) -> tuple[Ragged, Ragged]:
    """Rooms with two pairs of shapes standing about.

    Args:
        count: rooms.
        seed: decides everything.
        swapped: every shape is in the company of another one than usual.
        noise: standard deviation of the points' distance from their shape; shapes measure about 1.

    Returns:
        Positions, float32 rows of (N, 3), and the classes of the points, int64.
    """
    generator = np.random.default_rng(seed)
    rooms, labels = [], []
    for _ in range(count):
        kinds: list[int] = []
        for pair in generator.choice(4, size=2, replace=False):
            other = (pair + 1) % 4 if swapped else pair
            kinds += [2 * int(pair), 2 * int(other) + 1]
        places = np.stack([generator.uniform(-2.5, 2.5, 4), generator.uniform(-2.5, 2.5, 4)], 1)
        parts = []
        for kind, place in zip(kinds, places, strict=True):
            points = turned(surface(SHAPES[kind], POINTS, generator), generator)
            points *= generator.uniform(0.8, 1.2)
            points += generator.normal(0, noise, points.shape)
            parts.append(points + np.append(place, 0.5))
        rooms.append(torch.from_numpy(np.concatenate(parts)).float())
        labels.append(torch.tensor(kinds).repeat_interleave(POINTS))
    return Ragged.of(rooms), Ragged.of(labels)


def turned(points: Points, generator: np.random.Generator) -> Points:
    """The points turned about the vertical axis by any angle."""
    angle = generator.uniform(0, 2 * math.pi)
    cos, sin = math.cos(angle), math.sin(angle)
    about: Points = points @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    return about


def surface(shape: str, count: int, generator: np.random.Generator) -> Points:
    """Points on the surface of a shape about the origin. Returns (count, 3)."""
    unit, along = generator.uniform(size=count), generator.uniform(0, 1, count)
    angle = 2 * math.pi * unit
    around = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    square = around / np.abs(around).max(axis=1, keepdims=True)
    if shape == "sphere":
        height = 2 * along - 1
        return 0.5 * np.column_stack([around * np.sqrt(1 - height**2)[:, None], height])
    if shape == "cube":
        points = generator.uniform(-0.5, 0.5, (count, 3))
        face = generator.integers(3, size=count)
        points[np.arange(count), face] = generator.choice([-0.5, 0.5], size=count)
        return points
    if shape in ("cylinder", "box"):
        outline = around if shape == "cylinder" else square
        return np.column_stack([0.35 * outline, 1.2 * along - 0.6])
    if shape in ("cone", "pyramid"):
        outline = around if shape == "cone" else square
        share = np.sqrt(along)
        return np.column_stack([0.5 * outline * share[:, None], 0.5 - share])
    turn = 2 * math.pi * along
    outline = around if shape == "ring" else square
    radius = 0.45 + 0.12 * np.cos(turn)
    return np.column_stack([outline * radius[:, None], 0.12 * np.sin(turn)])
