"""Other versions of an object that are still what it was."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.errors import InputError
from vicinal.core.target import ClassTarget

#: What an edit changes at most, at strength 1: degrees, the logarithm of a size, pixels of a warp
#: as a share of the side, and levels of colour as a share of white.
DEGREES, SIZE, WARP, COLOUR = 30.0, 0.25, 0.08, 0.3
#: Nodes of the elastic warp along each side.
NODES = 5


class ObjectEdit:
    """Turn, resize, bend and recolour an object a little.

    It is what a generative model's edit is replaced by on small images: a real transform of
    the object with its opacity, whose colours are premultiplied while it is bent, so that no
    background bleeds in.

    Args:
        strength: how much, in [0, 1]; at 0 the object stays as it is.

    Raises:
        ValueError: strength is out of range.
    """

    def __init__(self, strength: float = 0.3) -> None:
        if not 0 <= strength <= 1:
            raise ValueError(f"strength must be in [0, 1], got {strength}")
        self.strength = strength
        self.name = f"geometric, strength {strength}"

    def __call__(self, objects: Tensor, batch: Batch, draws: Draws) -> Tensor:
        """One version of each. objects: (B, C + 1, H, W) uint8. Returns the same."""
        if self.strength == 0:
            return objects.clone()
        wide = objects.float() / 255
        opacity = wide[:, -1:]
        seen = F.grid_sample(
            torch.cat([wide[:, :-1] * opacity, opacity], dim=1),
            self._grid(wide, draws),
            padding_mode="zeros",
            align_corners=False,
        )
        opacity = seen[:, -1:]
        colour = seen[:, :-1] / opacity.clamp(min=1e-3)
        channels = colour.shape[1]
        spread = COLOUR * self.strength
        factor = draws.uniform("contrast", -spread, spread, shape=(1,)).exp()
        shift = draws.uniform("colour", -spread, spread, shape=(channels,)) / 2
        colour = colour * factor[..., None, None] + shift[..., None, None]
        edited = torch.cat([colour.clamp(0, 1) * (opacity > 0), opacity], dim=1)
        return (edited * 255 + 0.5).to(torch.uint8)

    def _grid(self, objects: Tensor, draws: Draws) -> Tensor:
        """Where each place is taken from, from -1 to 1. Returns (B, H, W, 2)."""
        count, _, height, width = objects.shape
        angle = draws.uniform("turn", -1.0, 1.0) * math.radians(DEGREES) * self.strength
        factor = (draws.uniform("size", -1.0, 1.0) * SIZE * self.strength).exp()
        cos, sin = angle.cos() * factor, angle.sin() * factor
        # About the object's own middle; places are in units of half a side, which may be unequal.
        middle = _middle(objects[:, -1])  # (B, 2), columns and rows
        turn = torch.stack([cos, -sin * height / width, sin * width / height, cos], dim=1)
        turn = turn.view(count, 2, 2)
        affine = torch.cat([turn, (middle - (turn @ middle[..., None])[..., 0])[..., None]], dim=2)
        grid = F.affine_grid(affine, [count, 1, height, width], align_corners=False)
        nodes = draws.normal("warp", shape=(2, NODES, NODES)) * WARP * self.strength
        bent = F.interpolate(nodes, size=(height, width), mode="bicubic", align_corners=True)
        return grid + bent.permute(0, 2, 3, 1)


class DiffusionEdit:
    """Draw an object anew with a diffusion model, from a noised version of itself.

    Source: SDEdit (Meng et al., ICLR 2022) as De-DA uses it: a low strength keeps pose and parts.
    Needs diffusers and the weights of an image-to-image model. De-DA's model draws opacity too
    (LayerDiffuse); those of diffusers do not: the object is edited on grey, and keeps its opacity.

    Args:
        model: folder or name of the model.
        strength: share of the noise that the object is taken back to, in (0, 1].
        prompt: with `{}` for the name of the class.
        classes: names of the classes, in the order of their indices.
        tokens: folder or file of learnt embeddings (textual inversion), whose tokens the prompt
            or the names of the classes may use; None for none.
        steps: of the noise schedule.
        side: of the images that the model works on, in pixels.
        device: where it runs.

    Raises:
        InputError: diffusers is not installed, or the model cannot be loaded.
        ValueError: strength is out of range.
    """

    def __init__(
        self,
        model: str,
        *,
        strength: float = 0.3,
        prompt: str = "a photo of a {}",
        classes: tuple[str, ...] = (),
        tokens: str | None = None,
        steps: int = 50,
        side: int = 512,
        device: str = "cpu",
    ) -> None:
        if not 0 < strength <= 1:
            raise ValueError(f"strength must be in (0, 1], got {strength}")
        self.strength = strength
        self.prompt = prompt
        self.classes = classes
        self.steps = steps
        self.side = side
        self.name = f"{model}, {prompt}, tokens {tokens}, strength {strength}, {steps} steps"
        self._pipeline = _loaded(model, tokens, device)

    def __call__(self, objects: Tensor, batch: Batch, draws: Draws) -> Tensor:
        """One version of each. objects: (B, 4, H, W) uint8. Returns the same."""
        if objects.shape[1] != 4:
            raise ValueError(f"x must be colour images, got {objects.shape[1] - 1} channels")
        wide = objects.float() / 255
        opacity = wide[:, 3:]
        grey = wide[:, :3] * opacity + 0.5 * (1 - opacity)
        size = (self.side, self.side)
        images = F.interpolate(grey, size=size, mode="bilinear", antialias=True)
        # A generator of its own for each row: what is drawn does not depend on the company.
        seeds = draws.keys("noise").abs().tolist()
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        made = self._pipeline(
            prompt=self._prompts(batch),
            image=images,
            strength=self.strength,
            num_inference_steps=self.steps,
            generator=generators,
            output_type="pt",
        ).images
        made = F.interpolate(
            made.float().to(objects.device), size=objects.shape[2:], mode="bilinear", antialias=True
        )
        levels = (made.clamp(0, 1) * 255 + 0.5).to(torch.uint8)
        return torch.cat([levels, objects[:, 3:]], dim=1)

    def _prompts(self, batch: Batch) -> list[str]:
        target = batch.target
        if not isinstance(target, ClassTarget) or target.weights is not None or not self.classes:
            return [self.prompt.replace("{}", "object")] * len(batch)
        names = [self.classes[label] for label in target.labels[:, 0].tolist()]
        return [self.prompt.replace("{}", name) for name in names]


def _middle(opacity: Tensor) -> Tensor:
    """The centre of mass, columns and rows from -1 to 1. opacity: (B, H, W). Returns (B, 2)."""
    mass = opacity.sum(dim=(1, 2)).clamp(min=1e-6)
    middle = []
    for axis, size in ((2, opacity.shape[2]), (1, opacity.shape[1])):
        place = (torch.arange(size, device=opacity.device) + 0.5) * 2 / size - 1
        middle.append((opacity.sum(dim=3 - axis) * place).sum(dim=1) / mass)
    return torch.stack(middle, dim=1)


def _loaded(model: str, tokens: str | None, device: str) -> Any:
    """An image-to-image pipeline, without its own progress bar."""
    try:
        import diffusers
    except ImportError:
        raise InputError(
            "editing by diffusion needs diffusers: install vicinal[generate]"
        ) from None
    try:
        pipeline = diffusers.AutoPipelineForImage2Image.from_pretrained(
            model, use_safetensors=True
        ).to(device)
        if tokens is not None:
            pipeline.load_textual_inversion(tokens)
    except (OSError, ValueError) as error:
        line = str(error).strip().splitlines()[0]
        raise InputError(f"the model {model} cannot be loaded: {line}") from None
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
