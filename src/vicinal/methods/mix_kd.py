"""Mix-KD: distillation where part of the batch is mixed, and logits are standardised."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from vicinal.core.batch import Batch
from vicinal.core.card import Card, FilePath, Options, Paper, Range
from vicinal.core.draws import Draws
from vicinal.core.method import Learner, Phase, Setting
from vicinal.core.params import Params
from vicinal.methods.supervised import Supervised
from vicinal.methods.twin import trained_twin
from vicinal.mixers.interpolate import Mixup, MixupParams
from vicinal.objectives.standardised_distillation import (
    TEACHER,
    StandardisedDistillation,
    standardised,
)


class PartialMixup(Mixup):
    """Mixup of some rows of the batch; the others stay as they are.

    Source: Choi et al., WACV 2023, and the authors' loops_mixstd.py.

    Args:
        alpha: both shapes of the Beta distribution of the weight kept; > 0.
        fraction: of the rows, that are mixed, in [0, 1].
        replacement: draw the rows that are not mixed with replacement, as the authors' code does,
            so that more are mixed than `fraction` says: about 40 % at 0.1.

    Raises:
        ValueError: a value is out of range.
    """

    def __init__(
        self, alpha: float = 1.0, fraction: float = 0.1, *, replacement: bool = False
    ) -> None:
        if not 0 <= fraction <= 1:
            raise ValueError(f"fraction must be in [0, 1], got {fraction!r}")
        super().__init__(alpha)
        self.fraction = fraction
        self.replacement = replacement

    def sample(self, batch: Batch, draws: Draws) -> MixupParams:
        params = super().sample(batch, draws)
        # By numbers of the rows' own: which are mixed does not depend on their order.
        order = draws.uniform("mixed").argsort(stable=True)
        if self.replacement:
            count = int(len(batch) * (1 - self.fraction))
            left = order[draws.below("left", len(batch))[order[:count]]]
        else:
            left = order[: round(len(batch) * (1 - self.fraction))]
        return replace(params, kept=params.kept.index_fill(0, left, 1.0))


class MixKD(Supervised):
    """Learn from a frozen teacher and from labels, with some rows of the batch mixed.

    Source: Choi et al., Understanding the Role of Mixup in Knowledge Distillation, WACV 2023, and
    the authors' loops_mixstd.py, MIXSTD.py and train_student_MIXSTD.py. The teacher was trained
    without mixup and is asked about the mixtures. Instead of a temperature, both networks' logits
    are divided by their own standard deviation; the predictions are too, since training leaves
    the scale of the logits open.

    Where no teacher is given, a network like the model, from the same initial weights, takes as
    many steps of its own on the same rows first, with the task's baseline. That is distillation
    into a twin, at more than twice the price, and not what the paper reports: its teachers are
    larger networks.

    Args:
        teacher: a safetensors file with weights of a network like the model; or, from Python, any
            network from prepared inputs to logits, which is copied.
        mixed_fraction: of the rows of a batch, that are mixed, in [0, 1].
        alpha: both shapes of the Beta distribution of the weight kept; > 0.
        label_weight: of the loss of the labels, >= 0.
        teacher_weight: of the divergence from the teacher, >= 0.
        temperature: > 0, of a loss with a temperature instead, as usual in distillation.
        replacement: see `PartialMixup`.

    Raises:
        TypeError: the teacher is neither a path nor a network.
        ValueError: a value is out of range.
    """

    card = Card(
        name="mix_kd",
        kind="method",
        family="distillation",
        modality=("image", "tabular"),
        summary="Learns from a teacher, with a few rows mixed and logits in units of their spread.",
        systems=("mixup-kd",),
        paper=Paper(
            "Understanding the Role of Mixup in Knowledge Distillation: An Empirical Study",
            authors="Choi, Jeon, Shukla, Turaga",
            venue="WACV",
            year=2023,
        ),
        parameters={
            "teacher": FilePath(
                meaning="safetensors file with a trained model's weights; without one, a twin of "
                "the model is trained as the teacher first"
            ),
            "mixed_fraction": Range(
                0.0, 1.0, default=0.1, valid="[0, 1]", meaning="share of the batch that is mixed"
            ),
            "alpha": Range(
                0.2,
                1.0,
                default=1.0,
                scale="log",
                valid="(0, inf)",
                meaning="both shapes of the Beta distribution of the weight kept",
            ),
            "label_weight": Range(
                0.0, 1.0, default=0.1, valid="[0, inf)", meaning="weight of the labels' loss"
            ),
            "teacher_weight": Range(
                0.0,
                1.0,
                default=0.9,
                valid="[0, inf)",
                meaning="weight of the teacher's divergence",
            ),
            "temperature": Range(
                1.0,
                10.0,
                default=None,
                scale="log",
                valid="(0, inf)",
                meaning="divides the logits instead of their standard deviation",
            ),
            "replacement": Options(
                (False, True),
                False,
                meaning="draw the unmixed rows with replacement, as the authors' code: more are "
                "mixed than is said",
            ),
        },
        needs=(
            "a teacher trained without mixup, or the time to train one first",
            "three classes or more, unless a temperature is given",
        ),
        cost="a forward pass of the teacher",
        targets=("classes",),
        agrees="not compared: no public code",
        labels="mixed",
        keeps_meaning=False,
        leaks="all that the teacher was trained on: it must not have seen rows that are held out",
        differs=(
            "an exact share of the batch is mixed, as the paper says; the authors' code draws the "
            "unmixed rows with replacement, and mixes about 40 % for 10 %: `replacement` does that",
            "the batch is mixed with one permutation of it, where theirs mixes two: the same "
            "mixtures are as likely, in another order",
            "without a teacher a twin of the model is trained, where theirs are larger",
            "predictions are standardised as in training; the class predicted is the same",
        ),
        controls=("mix_kd:mixed_fraction=0", "mix_kd:temperature=4"),
        example=(
            "import torch\n"
            "import vicinal\n"
            "from safetensors.torch import load_file\n"
            "from vicinal.methods.mix_kd import PartialMixup\n"
            "from vicinal.objectives.standardised_distillation import StandardisedDistillation\n"
            "\n"
            "mix = PartialMixup({alpha}, {mixed_fraction}, replacement={replacement})\n"
            "objective = StandardisedDistillation(\n"
            "    {label_weight}, {teacher_weight}, temperature={temperature})\n"
            "teacher = make_model().eval()  # yours, trained without mixup\n"
            "weights = {teacher}\n"
            "if weights:\n"
            "    teacher.load_state_dict(load_file(weights))\n"
            "\n"
            "# in the training loop, on uint8 images x with labels y; normalise is yours\n"
            "batch = mix(vicinal.Batch.of(normalise(x), y))\n"
            "with torch.no_grad():\n"
            '    batch = batch.replace(extras={"teacher": teacher(batch.x)})\n'
            "loss = objective(model(batch.x), batch, None, {})"
        ),
    )

    def __init__(
        self,
        teacher: str | nn.Module | None = None,
        *,
        mixed_fraction: float = 0.1,
        alpha: float = 1.0,
        label_weight: float = 0.1,
        teacher_weight: float = 0.9,
        temperature: float | None = None,
        replacement: bool = False,
    ) -> None:
        if not isinstance(teacher, nn.Module):
            self.card.check(teacher=teacher)
        self.card.check(
            mixed_fraction=mixed_fraction,
            alpha=alpha,
            label_weight=label_weight,
            teacher_weight=teacher_weight,
            temperature=temperature,
            replacement=replacement,
        )
        super().__init__(
            prepared=PartialMixup(alpha, mixed_fraction, replacement=replacement),
            objective=StandardisedDistillation(
                label_weight, teacher_weight, temperature=temperature
            ),
        )
        self.teacher = teacher
        self.temperature = temperature
        if teacher is None:
            self.moved = frozenset({"model", TEACHER})

    def start(self, setting: Setting) -> Learner:
        if self.temperature is None and setting.outputs < 3:
            raise ValueError(
                f"standardised logits of {setting.outputs} classes cannot be learnt: they are the "
                "same but for their order; give a temperature"
            )
        learner = super().start(setting)
        if isinstance(self.teacher, nn.Module):
            # A copy on the device, so that the one given stays as it is.
            teacher = copy.deepcopy(self.teacher).to(setting.launcher.device)
        else:
            teacher = setting.make_model(setting.outputs)
            if self.teacher is not None:
                load(teacher, self.teacher)
        learner.networks[TEACHER] = teacher.requires_grad_(False)
        return learner

    def enter(self, learner: Learner, phase: Phase, steps: int) -> None:
        super().enter(learner, phase, steps)
        teacher = learner.networks[TEACHER]
        if self.teacher is None:
            twin = trained_twin(learner.setting, learner.setting.part("train"), steps)
            teacher.load_state_dict(twin.state_dict())
            learner.updates[TEACHER] += steps
        teacher.eval()

    def forward(
        self, learner: Learner, batch: Batch, params: Params | None
    ) -> tuple[Tensor, Batch, Params | None]:
        with torch.no_grad():
            taught = learner.networks[TEACHER](batch.x)
        batch = batch.replace(extras={**batch.extras, TEACHER: taught})
        return super().forward(learner, batch, params)

    def predict(self, learner: Learner, batch: Batch) -> Tensor:
        output = super().predict(learner, batch)
        return standardised(output) if self.temperature is None else output


def load(network: nn.Module, path: str) -> None:
    """Put stored weights into a network.

    Args:
        network: changed in place.
        path: of a safetensors file.

    Raises:
        ValueError: the file is not there or no such file, or holds another network's weights.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not Path(path).is_file():
        raise ValueError(f"there is no file of a teacher's weights at {path}")
    try:
        network.load_state_dict(load_file(path))
    except SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file: {error}") from None
    except RuntimeError:
        raise ValueError(
            f"{path} holds the weights of another network than {type(network).__name__}: a teacher "
            "named by a file is like the model"
        ) from None
