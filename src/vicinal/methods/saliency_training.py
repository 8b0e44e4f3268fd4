"""Training on mixtures by saliency, whose pass over the clean images may train as well."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from torch import Tensor

from vicinal.core.augmentation import Mixer
from vicinal.core.batch import Batch
from vicinal.core.card import Options, Range
from vicinal.core.method import Learner, Setting
from vicinal.core.params import Params
from vicinal.core.probe import Saliency
from vicinal.methods.supervised import Supervised
from vicinal.objectives.softmax_binary import SoftmaxBinaryLoss
from vicinal.objectives.target_loss import TargetLoss

Loss = Literal["entropy", "binary"]
#: Gives the gradient of the loss along the inputs of a batch.
Ask = Callable[[Learner, Batch], Tensor]

#: Of the card of every such method.
LOSS = Options(
    ("entropy", "binary"),
    "entropy",
    meaning="on mixtures: cross-entropy, or binary cross-entropy of a softmax, as the authors have "
    "it for CIFAR",
)


def clean_range(default: float) -> Range:
    """The card's parameter `clean`, whose default differs from paper to paper."""
    return Range(
        0.0,
        2.0,
        default=default,
        valid="[0, inf)",
        meaning="weight of the loss on clean images; at 0 their pass trains nothing",
    )


def example(mixer: str, *remarks: str) -> str:
    """The example of a card. mixer: the call that makes it. remarks: lines at the end."""
    return "\n".join(
        [
            "import torch",
            "import vicinal",
            "from vicinal.core.probe import Saliency",
            "",
            f"augmentation = vicinal.{mixer}",
            "",
            "# in the training loop, on the batch as the model sees it",
            "x.requires_grad_()",
            "batch = vicinal.Batch.of(x, y)",
            "clean = batch.target.loss(model(x))",
            "(gradient,) = torch.autograd.grad(clean, x, retain_graph=True)",
            "evidence = {Saliency(): Saliency.of(gradient)}",
            "mixed = augmentation(batch.replace(x=x.detach(), evidence=evidence))",
            "loss = mixed.target.loss(model(mixed.x)) + {clean} * clean",
            *remarks,
        ]
    )


class SaliencyTraining(Supervised):
    """Train on mixtures, and on the clean images that the mixer asks the saliency of.

    That saliency is the gradient of a loss, so that training on the loss costs no pass: one forward
    and backward gives the gradients of the images and of the model. It is in training mode then.
    Where the clean loss has no weight, it is in evaluation mode, as for the mixer alone.

    Source: the authors' code of Puzzle Mix and Co-Mixup. That for CIFAR weighs the clean loss by
    2 `clean` / K, for K classes, with a loss on mixtures that is the mean over classes of their
    binary cross-entropy; that for ImageNet by `clean`, with cross-entropy. `loss` decides which;
    the first is here K / 2 times as much as there, so that steps are as long as the second's.

    Args:
        mixer: asks for the saliency and for nothing else.
        clean: weight of the loss on the clean images, >= 0.
        loss: on mixtures. On clean images it is the target's own, as in the authors' code.
    """

    def __init__(self, mixer: Mixer, *, clean: float, loss: Loss) -> None:
        objective = SoftmaxBinaryLoss() if loss == "binary" else TargetLoss()
        super().__init__(prepared=mixer, objective=objective)
        self.clean = clean
        self.loss: Loss = loss

    def start(self, setting: Setting) -> Learner:
        if self.loss == "binary" and setting.kind != "classification":
            raise ValueError(f"loss=binary is of classes, the task is {setting.kind}: leave it out")
        return super().start(setting)

    def step(self, learner: Learner, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        ask: Ask = gradient_in_training(self.clean) if self.clean else gradient_in_evaluation
        batch, params = self.mixed(learner, batches["train"], ask)
        with learner.setting.launcher.autocast():
            output = learner.model(batch.x)
            loss = self.objective(output, batch, params, {})
        learner.update(loss)
        return self.report(loss, output, batch)

    def augmented(self, learner: Learner, batch: Batch) -> tuple[Batch, Params | None]:
        """The mixtures as the model in evaluation mode makes them, which trains nothing."""
        return self.mixed(learner, batch, gradient_in_evaluation)

    def mixed(self, learner: Learner, batch: Batch, ask: Ask) -> tuple[Batch, Params | None]:
        """A raw batch mixed, and the params of that. ask: what the saliency is taken from."""
        batch, params = self.ready(learner, batch)
        return self.finished(learner, told(batch, ask(learner, batch)), params, 0)


def told(batch: Batch, gradient: Tensor) -> Batch:
    """The batch with the saliency of a gradient as its evidence. gradient: (B, C, H, W)."""
    evidence: dict[Any, Tensor] = {**batch.evidence, Saliency(): Saliency.of(gradient)}
    return batch.replace(evidence=evidence)


def gradient_in_evaluation(learner: Learner, batch: Batch) -> Tensor:
    """The gradient along the inputs, of the model as it judges. Returns (B, C, H, W) float32."""
    with learner.evaluating():
        return Saliency.gradient(learner.model, batch)


def gradient_in_training(weight: float) -> Ask:
    """The gradient along the inputs, in a pass that adds those of the model too.

    Args:
        weight: of the batch's mean loss, > 0. The inputs' gradients are of the loss by this weight,
            and mixers ask for shares of the saliency only.
    """

    def ask(learner: Learner, batch: Batch) -> Tensor:
        if batch.target is None:
            raise ValueError("saliency is the gradient of a loss: the batch needs a target")
        x = batch.tensor.detach().requires_grad_()
        with learner.setting.launcher.autocast():
            loss = weight * batch.target.loss(learner.model(x))
        learner.backward(x, model=loss)
        assert x.grad is not None
        return x.grad

    return ask
