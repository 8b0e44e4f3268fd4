"""What methods share that train a generator of mixing masks beside the model."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vicinal.core.batch import Batch
from vicinal.core.card import Range
from vicinal.core.method import Learner, Phase, Setting
from vicinal.core.modes import in_mode
from vicinal.core.probe import listening
from vicinal.core.target import Target
from vicinal.methods.supervised import Supervised
from vicinal.mixers.attention_mask import (
    AttentionMask,
    AttentionMaskParams,
    Upsampling,
    constant_near_ends,
)
from vicinal.mixers.k_way import Scope
from vicinal.models.averaging import EMATwin, cosine_momentum
from vicinal.models.feature_map import FeatureMap
from vicinal.models.layers import mixable_layers

#: The twin's momentum at the start and at the end, and the share of training in which it rests.
MOMENTUM, FINAL, REST = 0.999, 0.999999, 0.1
#: The parameter of a card.
FIRST_MOMENTUM = Range(
    0.9,
    MOMENTUM,
    default=None,
    valid="[0, 1]",
    meaning="of the twin at the start; by default 0.999, less in a short training",
)
#: The share of a short training that the twin averages over.
AVERAGED = 0.05


class MaskTraining(Supervised):
    """Train a model on mixtures whose masks a generator makes, which learns beside it.

    There are three networks. The model has two heads on one trunk, the halves of its last layer:
    one learns from clean images, the other from mixtures; they predict together. A twin follows
    the model as an average over time. The generator reads the twin's features of the clean images,
    and learns from what the twin says about the mixtures.

    Two losses, two optimisers: the model's does not reach the generator, since its masks are
    detached, and the generator's passes through the twin, which takes no gradients.

    Args:
        images: in a mixture, >= 2.
        alpha: both shapes of the Beta distribution of the weights; > 0.
        margin: a mixture whose own weight is within it of 0 or 1 is plain mixup for the model.
        scope: `sample` draws weights for every sample, `batch` one set for all of them.
        upsampling: how masks become as large as the image.
        momentum: of the twin at the start, in [0, 1]; by default as `first_momentum` has it.
    """

    moved = frozenset({"model", "generator", "twin"})

    def __init__(
        self,
        *,
        images: int,
        alpha: float,
        margin: float,
        scope: Scope,
        upsampling: Upsampling,
        momentum: float | None,
    ) -> None:
        super().__init__()
        self.images = images
        self.alpha = alpha
        self.margin = margin
        self.scope = scope
        self.upsampling = upsampling
        self.momentum = momentum

    @abstractmethod
    def make_generator(self, channels: int) -> nn.Module:
        """The network that makes the masks, of features with so many channels."""

    def model_loss(
        self, learner: Learner, batch: Batch, params: AttentionMaskParams
    ) -> tuple[Tensor, Tensor]:
        """The loss of the model, and the output of its head for clean images.

        Args:
            learner: whose model learns.
            batch: clean, as the model sees it, with the features as evidence.
            params: of the mixtures, without gradients.
        """
        clean = clean_head(learner.model(batch.x))
        mixed = masks_of(learner).apply(batch, params)
        loss = target_of(mixed).loss(mixed_head(learner.model(mixed.x)))
        return loss + target_of(batch).loss(clean), clean

    @abstractmethod
    def generator_loss(
        self, learner: Learner, batch: Batch, params: AttentionMaskParams, judged: Tensor
    ) -> Tensor:
        """The loss of the generator.

        Args:
            learner: whose twin judges.
            batch: clean, as the model sees it, with the features as evidence.
            params: of the mixtures, with gradients.
            judged: (B, C), what the twin's head for mixtures says of the clean images.
        """

    def start(self, setting: Setting) -> Learner:
        model = setting.make_model(2 * setting.outputs)
        # The statistics of its batch normalisation are its own, as in the authors' code.
        twin = EMATwin(model, statistics="own")
        probe = probe_of(twin)
        some = setting.part("train")[:2]
        with in_mode([twin], training=False):
            features = probe.answer(twin, some.replace(x=setting.prepare(some.tensor)))
        with setting.seeded("mask generator"):
            generator = self.make_generator(features.shape[1])
        networks = {"model": model, "twin": twin, "generator": generator.to(features.device)}
        optimisers = {
            name: setting.make_optimiser(networks[name].parameters())
            for name in ("model", "generator")
        }
        schedules = {
            name: setting.make_schedule(optimiser, setting.steps)
            for name, optimiser in optimisers.items()
        }
        return Learner(setting, networks, optimisers, schedules)

    def enter(self, learner: Learner, phase: Phase, steps: int) -> None:
        learner.fitted["masks"] = AttentionMask(
            learner.networks["generator"],
            probe_of(learner.networks["twin"]),
            images=self.images,
            alpha=self.alpha,
            scope=self.scope,
            upsampling=self.upsampling,
        )

    def step(self, learner: Learner, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        batch, _ = self.ready(learner, batches["train"])
        with learner.setting.launcher.autocast():
            loss, generator_loss, output = self.losses(learner, batch)
        learner.update(loss, generator=generator_loss)
        steps = learner.setting.steps
        first = first_momentum(steps) if self.momentum is None else self.momentum
        twin_of(learner).update(learner.model, momentum_at(learner.step / steps, start=first))
        return self.report(loss, output, batch)

    def losses(self, learner: Learner, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """The model's loss, the generator's, and the output of the head for clean images.

        The two train on mixtures of their own, with other partners and weights.

        Args:
            learner: whose networks learn.
            batch: clean, as the model sees it.
        """
        batch, judged = self.heard(learner, batch)
        loss, output = self.model_loss(learner, batch, self.shown(learner, batch))
        draws = learner.draws(batch).within("masks of the generator")
        params = masks_of(learner).sample(batch, draws)
        return loss, self.generator_loss(learner, batch, params, judged), output

    def augmented(self, learner: Learner, batch: Batch) -> tuple[Batch, AttentionMaskParams]:
        """The mixtures that the model learns from, with masks as the generator makes them now."""
        batch, _ = self.heard(learner, self.ready(learner, batch)[0])
        params = self.shown(learner, batch)
        return masks_of(learner).apply(batch, params), params

    @torch.no_grad()
    def shown(self, learner: Learner, batch: Batch) -> AttentionMaskParams:
        """The params of the model's mixtures. batch: with the features as evidence."""
        draws = learner.draws(batch).within("masks of the model")
        return constant_near_ends(masks_of(learner).sample(batch, draws), self.margin)

    def heard(self, learner: Learner, batch: Batch) -> tuple[Batch, Tensor]:
        """The batch with the twin's features, and what its head for mixtures says of the images.

        Both come of one pass. Every mixture has its sources in the batch: they are looked up.
        """
        probe = masks_of(learner).probe
        during = dataclasses.replace(probe, when="during")
        with torch.no_grad(), listening([during], learner.networks) as heard:
            judged = mixed_head(twin_of(learner)(batch.tensor))
        return batch.replace(evidence={probe: heard[during]}), judged

    def predict(self, learner: Learner, batch: Batch) -> Tensor:
        """The mean of what the model's two heads say."""
        output: Tensor = learner.model(learner.setting.prepare(batch.tensor))
        return (clean_head(output) + mixed_head(output)) / 2


def clean_head(output: Tensor) -> Tensor:
    """What a model with two heads says by the one for clean images. output: (B, 2 C)."""
    return output[:, : output.shape[1] // 2]


def mixed_head(output: Tensor) -> Tensor:
    """What a model with two heads says by the one for mixtures. output: (B, 2 C)."""
    return output[:, output.shape[1] // 2 :]


def target_of(batch: Batch) -> Target:
    """Its target. Raises ValueError if it has none."""
    if batch.target is None:
        raise ValueError("masks are trained on labelled batches")
    return batch.target


def twin_of(learner: Learner) -> EMATwin:
    """The twin of the model."""
    twin = learner.networks["twin"]
    assert isinstance(twin, EMATwin)
    return twin


def masks_of(learner: Learner) -> AttentionMask:
    """The mixer whose masks the generator makes."""
    masks = learner.fitted["masks"]
    assert isinstance(masks, AttentionMask)
    return masks


def probe_of(twin: nn.Module) -> FeatureMap:
    """Asks the twin for the features that masks are made of: of the last layer worth mixing at.

    That is the third of four stages in a residual network.

    Raises:
        ValueError: the model has no layer but its head.
    """
    layers = mixable_layers(twin)
    if not layers:
        raise ValueError("masks are made of the features of a hidden layer, and the model has none")
    return FeatureMap(network="twin", layer=layers[-1])


def momentum_at(done: float, *, start: float = MOMENTUM, end: float = FINAL) -> float:
    """The twin's momentum: constant for a tenth of training, then along a cosine over all of it.

    Source: `CosineScheduleHook` in OpenMixup, with `adjust_scope=[0.1, 1.0]` and a constant start;
    where the cosine begins to count, it has risen by a fortieth of its height.

    Args:
        done: share of training that is over, in [0, 1].
        start: the momentum before.
        end: the momentum at the end.
    """
    return start if done < REST else cosine_momentum(done, start=start, end=max(start, end))


def first_momentum(steps: int) -> float:
    """The twin's momentum at the start: 0.999 as in the paper, or less in a short training.

    At 0.999 the twin averages over a thousand steps, of the hundreds of thousands in the paper. In
    a training of less than 20,000 steps it averages over a twentieth: in one of a thousand it would
    else be the untrained network to the end.

    Args:
        steps: of the training.
    """
    return min(MOMENTUM, max(0.0, 1 - 1 / (AVERAGED * steps)))
