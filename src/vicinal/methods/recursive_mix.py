"""RecursiveMix: every batch carries the one before it, which carries the one before that."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vicinal.core.activation import LastFeatureMap
from vicinal.core.batch import Batch
from vicinal.core.card import Card, Options, Paper, Range, Result
from vicinal.core.classifier import classifier_of
from vicinal.core.method import Learner, Setting
from vicinal.core.params import Params
from vicinal.core.probe import listening
from vicinal.core.target import ClassTarget, SoftTarget
from vicinal.methods.supervised import Supervised
from vicinal.mixers.history import PasteHistory
from vicinal.mixers.paste import PasteParams, Scope, pasted_share, spatial_sizes
from vicinal.mixers.resized import Interpolation

#: The second head among a learner's networks.
HEAD = "region head"


class RecursiveMix(Supervised):
    """Paste the previous mixed batch, resized, into a box of this one, and predict it alike.

    Labels mix by area, so that a sample carries the labels of all batches of the epoch before it,
    each with the share of its area that is still seen. A second head reads the features inside of
    the box and is to predict what the model predicted for that image a step ago.

    Source: Yang et al., RecursiveMix: Mixed Learning with History, NeurIPS 2022, section 3, and the
    authors' main.py and utils.py. The first batch of an epoch has no history.

    Args:
        alpha: the largest share of the area that a box covers before it is cut at the border, in
            (0, 1]; shares are uniform.
        omega: weight of the second head's loss, >= 0; for each sample times the share of its box.
        interpolation: of the resized history.
        scope: `sample` draws a box for every sample, `batch` one for all of them.

    Raises:
        ValueError: a value is out of range or unknown.
    """

    card = Card(
        name="recursivemix",
        kind="method",
        family="paste",
        modality=("image",),
        summary="Pastes the previous mixed batch into this one and asks for the same prediction.",
        systems=("openmixup-mixers",),
        paper=Paper(
            "RecursiveMix: Mixed Learning with History",
            authors="Yang, Li, Zhao, Song, Yang",
            venue="NeurIPS",
            year=2022,
            arxiv="2203.06844",
        ),
        parameters={
            "alpha": Range(
                0.1,
                1.0,
                default=0.5,
                valid="(0, 1]",
                meaning="largest share of the area that a box covers",
            ),
            "omega": Range(
                0.0,
                1.0,
                default=0.5,
                valid="[0, inf)",
                meaning="weight of the consistency loss; the authors take 0.5 for ImageNet, 0.1 "
                "for CIFAR",
            ),
            "interpolation": Options(
                ("nearest", "bilinear"), "nearest", meaning="of the resized history"
            ),
            "scope": Options(("sample", "batch"), "sample", meaning="what shares one box"),
        },
        needs=(
            "labels",
            "a convolutional network whose linear classifier reads the mean of the last feature "
            "map",
        ),
        targets=("classes", "soft"),
        agrees="with the authors' code, to 1e-5, on images, labels and losses",
        labels="mixed",
        keeps_meaning=False,
        result=Result(
            task="ImageNet-1k, ResNet-50, 300 epochs",
            metric="top-1 accuracy, %",
            baseline=76.32,
            value=79.20,
        ),
        differs=(
            "one box per sample, where the authors' code has one per batch",
            "features are read inside of the box; the authors' code exchanges rows and columns "
            "there, and reads its mirror image along the diagonal",
        ),
        controls=("cutmix",),
        example=(
            "import vicinal\n"
            "from vicinal.mixers.history import PasteHistory\n"
            "\n"
            "paste = PasteHistory(alpha={alpha}, interpolation={interpolation}, scope={scope})\n"
            "history = None\n"
            "\n"
            "# in the training loop; the paper adds a loss that reads the features in the box\n"
            "batch = vicinal.Batch.of(x, y)\n"
            "if history is not None:\n"
            "    batch = paste(batch.replace(pool=history)).replace(pool=None)\n"
            "loss = batch.target.loss(model(batch.x))\n"
            "history = batch  # its labels grow by one a step: start anew every epoch"
        ),
    )

    moved = frozenset({"model", HEAD})

    def __init__(
        self,
        alpha: float = 0.5,
        *,
        omega: float = 0.5,
        interpolation: Interpolation = "nearest",
        scope: Scope = "sample",
    ) -> None:
        self.card.check(alpha=alpha, omega=omega, interpolation=interpolation, scope=scope)
        super().__init__()
        self.alpha = alpha
        self.omega = omega
        self.paste = PasteHistory(alpha, interpolation=interpolation, scope=scope)
        self.features = LastFeatureMap(when="during")

    def start(self, setting: Setting) -> Learner:
        model = setting.make_model(setting.outputs)
        self.features.require(model)
        classifier = classifier_of(model)
        with setting.seeded(HEAD):
            head = nn.Linear(classifier.in_features, setting.outputs).to(classifier.weight.device)
        optimiser = setting.make_optimiser([*model.parameters(), *head.parameters()])
        return Learner(
            setting,
            networks={"model": model, HEAD: head},
            optimisers={"model": optimiser},
            schedules={"model": setting.make_schedule(optimiser, setting.steps)},
        )

    def step(self, learner: Learner, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        batch, params = self.mixed(learner, batches["train"])
        if batch.target is None:
            raise ValueError("RecursiveMix trains on labelled batches")
        with learner.setting.launcher.autocast():
            with listening([self.features], learner.networks) as heard:
                output = learner.model(batch.x)
            loss = batch.target.loss(output)
            report = self.report(loss, output, batch)
            if params is not None:
                consistency = self.consistency(learner, heard[self.features], batch, params)
                report["consistency"] = consistency.detach()
                loss = loss + self.omega * consistency
        remember(learner, batch, output)
        learner.update(loss)
        return report

    def mixed(self, learner: Learner, batch: Batch) -> tuple[Batch, PasteParams | None]:
        """The batch with its history pasted in, labels dense, and the params if there is one."""
        batch, _ = self.ready(learner, batch)
        if not isinstance(batch.target, ClassTarget | SoftTarget):
            raise TypeError("RecursiveMix needs the classes of its samples")
        # As many labels as steps would be kept apart otherwise.
        batch = batch.replace(target=SoftTarget(batch.target.dense(learner.setting.outputs)))
        history = recalled(learner, batch.epoch)
        if history is None:
            return batch, None
        batch = batch.replace(pool=history)
        params = self.paste.sample(batch, learner.draws(batch).within("history"))
        return self.paste.apply(batch, params), params

    def augmented(self, learner: Learner, batch: Batch) -> tuple[Batch, Params]:
        """What the second step of an epoch makes of these rows, had they been the first's too."""
        batch, _ = self.ready(learner, batch)
        order = torch.arange(len(batch), device=batch.index.device).roll(1)
        batch = batch.replace(pool=batch[order].replace(pool=None))
        params = self.paste.sample(batch, learner.draws(batch).within("history"))
        return self.paste.apply(batch, params).replace(pool=None), params

    def consistency(
        self, learner: Learner, features: Tensor, batch: Batch, params: PasteParams
    ) -> Tensor:
        """The second head's loss inside of the boxes against the history's predictions.

        Args:
            learner: remembers the predictions.
            features: (B, C, h, w), of the mixed batch.
            batch: mixed, its pool the history.
            params: of its boxes.

        Returns:
            A scalar: the mean over samples of the loss times the share of the box.
        """
        _, at = batch.partners(params.partner)
        before = SoftTarget(learner.memory["output"][at].float().softmax(dim=1))
        sizes = spatial_sizes(batch.tensor)
        region = region_features(features, params.start, params.stop, sizes)
        loss = before.loss(learner.networks[HEAD](region), reduction="none")
        return (loss * pasted_share(params, sizes)).mean()


def region_features(
    features: Tensor, start: Tensor, stop: Tensor, sizes: tuple[int, ...]
) -> Tensor:
    """The mean of the features inside of boxes of the image, by RoIAlign (He et al., ICCV 2017).

    Args:
        features: (B, C, h, w).
        start: (B, 2) int64, first row and column of the box.
        stop: (B, 2) int64, one after the last.
        sizes: (H, W) of the image.

    Returns:
        (B, C) float32.
    """
    from torchvision.ops import roi_align

    scale = [there / here for there, here in zip(features.shape[2:], sizes, strict=True)]
    corners = torch.cat([start, stop], dim=1) * start.new_tensor(scale * 2, dtype=torch.float32)
    columns_first = corners[:, [1, 0, 3, 2]]
    row = torch.arange(len(features), device=features.device)[:, None]
    region: Tensor = roi_align(
        features.float(), torch.cat([row, columns_first], dim=1), output_size=1, aligned=True
    )
    return region.flatten(1)


def remember(learner: Learner, batch: Batch, output: Tensor) -> None:
    """Keep what the next step pastes and predicts."""
    assert isinstance(batch.target, SoftTarget)
    learner.memory |= {
        "x": batch.tensor.detach(),
        "target": batch.target.probabilities,
        "output": output.detach(),
        "index": batch.index,
        "epoch": torch.tensor(batch.epoch),  # on the host, where it is read
    }


def recalled(learner: Learner, epoch: int) -> Batch | None:
    """The previous mixed batch, if it was of the same epoch."""
    memory = learner.memory
    if not memory or int(memory["epoch"]) != epoch:
        return None
    return Batch(x=memory["x"], target=SoftTarget(memory["target"]), index=memory["index"])
