"""Masks by a text: the real networks of transformers, with weights drawn at random."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from vicinal.core.errors import InputError
from vicinal.data.parts.sam import SamMasks

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny SAM."""
    folder = tmp_path_factory.mktemp("sam")
    config = transformers.SamConfig(
        vision_config={
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "output_channels": 16,
            "image_size": 64,
            "patch_size": 16,
            "window_size": 2,
            "global_attn_indexes": [0],
            "mlp_dim": 16,
            "num_pos_feats": 8,
        },
        prompt_encoder_config={
            "hidden_size": 16,
            "image_size": 64,
            "patch_size": 16,
            "mask_input_channels": 4,
        },
        mask_decoder_config={
            "hidden_size": 16,
            "mlp_dim": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "iou_head_depth": 2,
            "iou_head_hidden_dim": 16,
        },
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.SamModel(config).save_pretrained(folder)
    images = transformers.SamImageProcessor(
        size={"longest_edge": 64},
        mask_size={"longest_edge": 16},
        pad_size={"height": 64, "width": 64},
        mask_pad_size={"height": 16, "width": 16},
    )
    transformers.SamProcessor(images).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny Grounding DINO with a vocabulary of a few words."""
    folder = tmp_path_factory.mktemp("detector")
    config = transformers.GroundingDinoConfig(
        backbone_config=transformers.SwinConfig(
            image_size=64,
            embed_dim=8,
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 1, 1],
            window_size=2,
            out_features=["stage2", "stage3", "stage4"],
        ),
        text_config=transformers.BertConfig(
            vocab_size=2000,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
        ),
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        num_queries=6,
        max_text_len=16,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.GroundingDinoForObjectDetection(config).save_pretrained(folder)
    words = ["[PAD]", "[UNK]", *(f"[unused{place}]" for place in range(99)), "[CLS]", "[SEP]"]
    words += [*(f"filler{place}" for place in range(909)), ".", "bird"]  # 1012 is the full stop
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(words))
    tokenizer = transformers.BertTokenizerFast(vocab_file=str(vocabulary))
    images = transformers.GroundingDinoImageProcessor(size={"height": 128, "width": 128})
    transformers.GroundingDinoProcessor(images, tokenizer).save_pretrained(folder)
    return str(folder)


def test_masks_of_any_size_and_number_come_from_the_networks(detector: str, segmenter: str) -> None:
    masks = SamMasks("A bird", detector=detector, segmenter=segmenter, least=0.0)
    assert masks.text == "a bird."
    images = torch.randint(0, 256, (3, 3, 20, 28), dtype=torch.uint8)
    found = masks(images, torch.arange(3))
    assert (found.dtype, found.shape) == (torch.bool, (3, 20, 28))
    assert torch.equal(masks(images[:1], torch.arange(1)), found[:1])
    grey = masks(images[:, :1], torch.arange(3))
    assert grey.shape == found.shape
    assert "bird" in masks.name
    unsure = SamMasks("bird", detector=detector, segmenter=segmenter, least=1.0)
    assert not unsure(images, torch.arange(3)).any()


def test_what_is_missing_is_said_in_a_line(
    segmenter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="text must name the object"):
        SamMasks(" ")
    with pytest.raises(ValueError, match=r"least must be in \[0, 1\], got 2"):
        SamMasks("bird", least=2)
    with pytest.raises(InputError, match="cannot be loaded"):
        SamMasks("bird", detector=str(tmp_path), segmenter=segmenter)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r"install vicinal\[generate\]"):
        SamMasks("bird")
