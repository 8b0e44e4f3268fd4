"""MADAug: a policy that learns, a step ahead, which augmentation helps the model when."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vicinal.core.batch import Batch
from vicinal.core.card import Card, Range
from vicinal.core.classifier import classifier_of
from vicinal.core.lookahead import differentiable_rule, look_ahead
from vicinal.core.method import Learner, Phase, Setting, Stream
from vicinal.core.probe import ask
from vicinal.data.curricula import TanhRamp
from vicinal.methods.supervised import Supervised
from vicinal.objectives.smoothing import SmoothedLoss
from vicinal.policies.model_adaptive import ModelAdaptive
from vicinal.transforms.image.cutout import Cutout
from vicinal.transforms.image.graded import SEVENTEEN, Bank

#: Of the policy's Adam.
POLICY_DECAY = 1e-3
#: The norm that the model's gradient is cut off at.
CLIP = 5.0


class MADAug(Supervised):
    """Augment more and more images, by a policy trained for a model that does well a step later.

    Source: Hou et al., When to Learn What, ICCV 2023, and the authors' main_higher.py. A linear
    layer on the model's features gives each image probabilities and magnitudes of seventeen
    operations. Every few steps it is moved so that a step of the model on the mixture of all
    operations would lower the loss on held-out samples. Ordinary steps draw a few operations for a
    share of the batch that rises from almost none to all; the rest has crop, flip and Cutout, as
    all have. The policy learns from the first step on, as in the paper: the authors' script would
    begin after epoch 300 and ends at 240.

    Args:
        num_ops: operations an image, >= 0.
        temperature: of the choice in ordinary steps, > 0.
        jitter: how far magnitudes are moved in ordinary steps, in [0, 1].
        every: a policy step comes with the first of so many steps, >= 1.
        tau: share of training after which 0.77 of a batch is augmented, > 0; all are at 2.65 tau.
        cutout: side of the square that every image loses, as a share of its shorter side, in
            [0, 2]; 0 covers nothing.
        smoothing: share of every label that is spread over all classes, in [0, 1).
        policy_rate: learning rate of the policy, >= 0; at 0 it stays as it is drawn.
        held_out: share of the training rows that only the policy learns from, in (0, 1).
        bank: the operations; the authors' seventeen by default.

    Raises:
        ValueError: a value is out of range; in `start`, the model has no linear classifier, or its
            optimiser cannot be looked ahead.
    """

    moved = frozenset({"model", "policy"})
    card = Card(
        name="madaug",
        kind="method",
        family="policies",
        modality=("image",),
        summary="Learns for each image which operations make the model do better on held-out data.",
        systems=("madaug",),
        paper=ModelAdaptive.card.paper,
        parameters={
            **ModelAdaptive.card.parameters,
            "every": Range(
                1, 10, default=3, valid="[1, inf)", integer=True, meaning="steps a policy step"
            ),
            "tau": Range(
                0.02,
                0.5,
                default=1 / 6,
                scale="log",
                valid="(0, inf)",
                meaning="share of training after which 0.77 of a batch is augmented",
            ),
            "cutout": Range(
                0.0, 0.9, default=0.5, valid="[0, 2]", meaning="side of the square covered"
            ),
            "smoothing": Range(
                0.0, 0.3, default=0.1, valid="[0, 1)", meaning="share spread over all classes"
            ),
            "policy_rate": Range(
                0.0, 1e-2, default=1e-3, valid="[0, inf)", meaning="learning rate of the policy"
            ),
            "held_out": Range(
                0.05, 0.5, default=0.1, valid="(0, 1)", meaning="share of rows for the policy alone"
            ),
        },
        needs=("features", "a held-out part", "second derivatives"),
        targets=("classes",),
        labels="smoothed",
        differs=(
            *ModelAdaptive.card.differs,
            "the policy learns throughout, as in the paper, where the authors' script never "
            "reaches the epoch in which it would begin",
            "the policy reads the features of standardised images, where the authors' code feeds "
            "the unstandardised ones to the model for that",
            "the gradient of the look-ahead does not run through the features that the policy "
            "reads, as no training step's does; in the authors' code it does",
            "the held-out loss is the paper's cross-entropy, where the authors' code smooths its "
            "labels too",
            "the policy sees images without Cutout, where the authors' code draws one for each of "
            "the seventeen",
            "the share of augmented samples rises with every step, and is given as a share of "
            "training: a sixth are the paper's 40 of 240 epochs",
            "held-out batches are as large as training batches, where the authors' have 16 or 32",
        ),
        controls=("madaug:policy_rate=0",),
        example=(
            "import torch\n"
            "import vicinal\n"
            "from vicinal.core.lookahead import look_ahead\n"
            "from vicinal.core.classifier import classifier_of\n"
            "from vicinal.models.penultimate import Penultimate\n"
            "\n"
            "features = classifier_of(model).in_features\n"
            "head = torch.nn.Linear(features, 2 * 17)\n"
            "policy = vicinal.ModelAdaptive({num_ops}, {temperature}, jitter={jitter}, head=head)\n"
            "optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)\n"
            "adam = torch.optim.Adam(head.parameters(), lr={policy_rate}, weight_decay=1e-3)\n"
            "held_x, held_y = x, y  # in truth samples that are not trained on\n"
            "\n"
            "# in the training loop, on uint8 images x; normalise is yours\n"
            "model.eval()\n"
            "probe = Penultimate()\n"
            "batch = vicinal.Batch.of(x, y)\n"
            "seen = batch.replace(x=normalise(x))\n"
            "batch = batch.replace(evidence={probe: probe.answer(model, seen)})\n"
            "draws = vicinal.Draws.from_generator(None, batch.index)\n"
            "\n"
            "# every {every} steps: move the policy\n"
            "mixed = policy.relaxed(batch, policy.sample_all(batch, draws), prepare=normalise)\n"
            "ahead = look_ahead(model, lambda f: batch.target.loss(f(mixed.x)), "
            "optimiser=optimiser)\n"
            "outer = vicinal.Target.of(held_y).loss(ahead(normalise(held_x)))\n"
            "adam.zero_grad()\n"
            "outer.backward(inputs=list(head.parameters()))\n"
            "adam.step()\n"
            "\n"
            "# every step: move the model\n"
            "augmented = policy(batch, draws=draws)\n"
            "model.train()\n"
            "loss = batch.target.smooth({smoothing}).loss(model(normalise(augmented.x)))"
        )
        .replace("{{", "{")
        .replace("}}", "}"),
    )

    def __init__(
        self,
        num_ops: int = 2,
        temperature: float = 3.0,
        *,
        jitter: float = 0.3,
        every: int = 3,
        tau: float = 1 / 6,
        cutout: float = 0.5,
        smoothing: float = 0.1,
        policy_rate: float = 1e-3,
        held_out: float = 0.1,
        bank: Bank = SEVENTEEN,
    ) -> None:
        self.card.check(every=every, tau=tau, cutout=cutout, policy_rate=policy_rate)
        self.card.check(smoothing=smoothing, held_out=held_out)
        super().__init__(objective=SmoothedLoss(smoothing))
        self.untrained = ModelAdaptive(num_ops, temperature, jitter=jitter, bank=bank)
        self.every = every
        self.ramp = TanhRamp(tau)
        self.cutout = Cutout(cutout) if cutout else None
        self.policy_rate = policy_rate
        self.apart = {"held_out": held_out}

    def phases(self) -> tuple[Phase, ...]:
        return (Phase(streams={"train": Stream(), "held_out": Stream("held_out")}),)

    def start(self, setting: Setting) -> Learner:
        learner = super().start(setting)
        features = classifier_of(learner.model).in_features
        differentiable_rule(learner.optimisers["model"])
        with setting.seeded("policy"):
            head = nn.Linear(features, 2 * len(self.untrained.bank)).to(setting.launcher.device)
        adam = torch.optim.Adam(head.parameters(), lr=self.policy_rate, weight_decay=POLICY_DECAY)
        learner.networks["policy"] = head
        learner.optimisers["policy"] = setting.launcher.setup_optimizers(adam)
        return learner

    def step(self, learner: Learner, batches: Mapping[str, Batch]) -> Mapping[str, Tensor]:
        facts: dict[str, Tensor] = {}
        if learner.step % self.every == 0:
            outer = self.explore(learner, batches["train"], batches["held_out"])
            learner.update(policy=outer)
            facts["held-out loss"] = outer.detach()
        batch, _ = self.augmented(learner, batches["train"])
        with learner.setting.launcher.autocast():
            output = learner.model(batch.x)
            loss = self.objective(output, batch, None, {})
        learner.backward(model=loss)
        nn.utils.clip_grad_norm_(learner.model.parameters(), CLIP)
        learner.advance("model")
        return self.report(loss, output, batch) | facts

    def explore(self, learner: Learner, batch: Batch, held_out: Batch) -> Tensor:
        """The loss on held-out samples after a step on the policy's mixture, which is not taken.

        Like the authors, it looks ahead in evaluation mode.

        Args:
            learner: its model stays as it is.
            batch: raw, of training rows.
            held_out: raw, of other rows.
        """
        prepare = learner.setting.prepare
        policy = self.policy(learner)
        batch = self.based(learner, batch)
        with learner.evaluating(), learner.setting.launcher.autocast():
            batch = self.described(learner, batch)
            params = policy.sample_all(batch, learner.draws(batch).within("explore"))
            mixed = policy.relaxed(batch, params, prepare=prepare)
            ahead = look_ahead(
                learner.model,
                lambda model: self.objective(model(mixed.x), mixed, None, {}),
                optimiser=learner.optimisers["model"],
            )
            if held_out.target is None:
                raise ValueError("MADAug needs labels of the held-out rows")
            return held_out.target.loss(ahead(prepare(held_out.tensor)))

    def augmented(self, learner: Learner, batch: Batch) -> tuple[Batch, None]:
        """The first rows by the policy, as many as the ramp says, and Cutout on all."""
        batch = self.based(learner, batch)
        count = int(self.ramp(learner.step / learner.setting.steps) * len(batch))
        images = torch.cat([self.exploit(learner, batch[:count]), batch.tensor[count:]])
        batch = batch.replace(x=learner.setting.prepare(images))
        if self.cutout is not None:
            batch, _ = self.cutout.augment(batch, learner.draws(batch).within("cutout"))
        return batch, None

    def exploit(self, learner: Learner, batch: Batch) -> Tensor:
        """The policy's images. batch: after the baseline, raw. Returns (B, C, H, W), raw."""
        if not len(batch):
            return batch.tensor
        with torch.no_grad(), learner.evaluating():
            batch = self.described(learner, batch)
            draws = learner.draws(batch).within("policy")
            return self.policy(learner).augment(batch, draws)[0].tensor

    def policy(self, learner: Learner) -> ModelAdaptive:
        """The augmentation as its network is now."""
        return ModelAdaptive(**self.untrained.settings() | {"head": learner.networks["policy"]})

    def described(self, learner: Learner, batch: Batch) -> Batch:
        """The raw batch with the features of its images as evidence."""
        seen = batch.replace(x=learner.setting.prepare(batch.tensor))
        probes = self.policy(learner).probes
        return batch.replace(evidence=ask(probes, learner.networks, seen).evidence)
