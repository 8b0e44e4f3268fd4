"""Masks by a text: a detector finds boxes of what is named, and SAM the object in the best of them.

Needs transformers, and weights of two networks that it loads from a folder or from the hub.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vicinal.core.errors import InputError


class SamMasks:
    """The object that a text names, in the box that a detector is surest of.

    Source: Kirillov et al., Segment Anything, ICCV 2023, prompted by the boxes of Liu et al.,
    Grounding DINO, ECCV 2024; De-DA prompts by the name of the superclass: "bird", "aircraft".

    Args:
        text: what the object is, in lower case.
        detector: folder or name of a zero-shot detector.
        segmenter: folder or name of a SAM.
        least: how sure the detector has to be, in [0, 1]; an image without such a box has no mask.
        device: where the networks run.

    Raises:
        InputError: transformers is not installed, or a network cannot be loaded.
        ValueError: the text is empty, or least is out of range.
    """

    def __init__(
        self,
        text: str,
        *,
        detector: str = "IDEA-Research/grounding-dino-tiny",
        segmenter: str = "facebook/sam-vit-base",
        least: float = 0.3,
        device: str = "cpu",
    ) -> None:
        if not text.strip():
            raise ValueError("text must name the object, got none")
        if not 0 <= least <= 1:
            raise ValueError(f"least must be in [0, 1], got {least}")
        self.text = text.strip().rstrip(".").lower() + "."
        self.least = least
        self.name = f"sam, {self.text} {detector} {segmenter} {least}"
        self._device = torch.device(device)
        self._detect, self._read = _loaded(
            "AutoModelForZeroShotObjectDetection", detector, self._device
        )
        self._segment, self._prompt = _loaded("SamModel", segmenter, self._device)

    @torch.no_grad()
    def __call__(self, images: Tensor, index: Tensor) -> Tensor:
        count, _, height, width = images.shape
        masks = torch.zeros(count, height, width, dtype=torch.bool)
        pictures = [
            image.expand(3, -1, -1).permute(1, 2, 0).contiguous().cpu().numpy() for image in images
        ]
        boxes = self._boxes(pictures, (height, width))
        found = [row for row, box in enumerate(boxes) if box is not None]
        if found:
            masks[found] = self._masks(
                [pictures[row] for row in found], [boxes[row] for row in found]
            )
        return masks.to(images.device)

    def _boxes(self, pictures: list[Any], size: tuple[int, int]) -> list[list[float] | None]:
        """The surest box of each image: left, top, right, bottom in pixels."""
        inputs = self._read(
            images=pictures, text=[self.text] * len(pictures), return_tensors="pt"
        ).to(self._device)
        results = self._read.post_process_grounded_object_detection(
            self._detect(**inputs),
            inputs["input_ids"],
            threshold=self.least,
            target_sizes=[size] * len(pictures),
        )
        boxes: list[list[float] | None] = []
        for result in results:
            scores = result["scores"]
            sure = len(scores) > 0 and float(scores.max()) >= self.least
            boxes.append(result["boxes"][int(scores.argmax())].tolist() if sure else None)
        return boxes

    def _masks(self, pictures: list[Any], boxes: list[list[float] | None]) -> Tensor:
        """The object in each box. Returns (M, H, W) bool on the host."""
        inputs = self._prompt(
            images=pictures, input_boxes=[[box] for box in boxes], return_tensors="pt"
        ).to(self._device)
        outputs = self._segment(**inputs, multimask_output=True)
        masks = self._prompt.image_processor.post_process_masks(
            outputs.pred_masks.cpu(),
            inputs["original_sizes"].cpu(),
            inputs["reshaped_input_sizes"].cpu(),
        )
        best = outputs.iou_scores[:, 0].argmax(dim=1).cpu()  # of the three that SAM offers
        return torch.stack([each[0, int(place)] for each, place in zip(masks, best, strict=True)])


def _loaded(kind: str, name: str, device: torch.device) -> tuple[Any, Any]:
    """A network of transformers in evaluation mode, and what prepares its inputs."""
    try:
        import transformers
    except ImportError:
        raise InputError("masks by a text need transformers: install vicinal[generate]") from None
    try:
        network = getattr(transformers, kind).from_pretrained(name, use_safetensors=True)
        processor = transformers.AutoProcessor.from_pretrained(name)
    except (OSError, ValueError) as error:
        line = str(error).strip().splitlines()[0]
        raise InputError(f"the network {name} cannot be loaded: {line}") from None
    return network.eval().to(device), processor
