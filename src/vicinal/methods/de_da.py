"""De-DA: objects and backgrounds of images, put together anew."""

from __future__ import annotations

import tempfile
from typing import Literal

from vicinal.core.batch import Batch
from vicinal.core.card import Card, FilePath, Options, Paper, Range
from vicinal.core.method import Learner, Phase, Setting
from vicinal.core.params import Params
from vicinal.data.parts import PartsStore, SaliencyMasks, ThresholdMasks, build_parts
from vicinal.generate.object_edit import ObjectEdit
from vicinal.methods.supervised import Supervised
from vicinal.mixers.recombine import Recombine

MASKS = {"threshold": ThresholdMasks, "saliency": SaliencyMasks}
#: With fewer usable objects than this share of the rows, masks are no masks of objects.
FEWEST = 0.5


class DeDA(Supervised):
    """Train on objects, plain or edited, shown on backgrounds of other classes.

    Source: De-DA, Decoupled Data Augmentation for Improving Image Classification, 2024: no code was
    found, and probabilities are choices made here. Its objects are found by a text-prompted SAM,
    edited by a diffusion model, and kept; here a store of parts holds them, which `build_parts`
    writes with any masks and any editor. Where no store is given, the method makes one of the
    training rows for itself, with masks that need no network and a geometric edit.

    Args:
        store: folder of a store that holds the training rows.
        masks: how objects are found in a store that the method makes: `threshold` by their
            colour's distance from the border's, `saliency` by the spectral residual.
        copies: edited versions of each object in such a store, >= 0.
        swap: how often the background is another image's, in [0, 1].
        edited: how often an edited version is shown, in [0, 1].
        place: how far objects are moved, as a share of the room they have, in [0, 1].
        objects: on each background, 1 or 2.

    Raises:
        TypeError: the store is no path.
        ValueError: a value is out of range.
    """

    card = Card(
        name="de_da",
        kind="method",
        family="paste",
        modality=("image",),
        summary="Puts objects, plain or edited, on backgrounds of other classes.",
        systems=("de-da",),
        paper=Paper(
            "Decoupled Data Augmentation for Improving Image Classification",
            venue="arXiv",
            year=2024,
            arxiv="2411.02592",
        ),
        parameters={
            "store": FilePath(
                meaning="folder of objects and backgrounds that `build_parts` wrote; without one, "
                "it is made of the training rows"
            ),
            "masks": Options(
                ("threshold", "saliency"), "threshold", meaning="how objects are found without one"
            ),
            "copies": Range(
                0,
                5,
                default=2,
                valid="[0, inf)",
                integer=True,
                meaning="edited versions of each object, without a store",
            ),
            "swap": Range(
                0.0, 1.0, default=0.5, valid="[0, 1]", meaning="how often backgrounds are swapped"
            ),
            "edited": Range(
                0.0, 1.0, default=0.5, valid="[0, 1]", meaning="how often objects are edited ones"
            ),
            "place": Range(
                0.0, 1.0, default=0.5, valid="[0, 1]", meaning="how far objects are moved"
            ),
            "objects": Range(
                1, 2, default=1, valid="[1, 2]", integer=True, meaning="objects of an image"
            ),
        },
        needs=("images whose object can be told from its background",),
        targets=("classes",),
        agrees="not compared: no public code",
        labels="mixed",
        differs=(
            "without a store, masks by threshold or saliency and a geometric edit stand for SAM "
            "and a diffusion model",
            "no code was found: probabilities, places and the labels' areas follow the description",
        ),
        controls=("de_da:swap=0",),
        example=(
            "import tempfile\n"
            "import vicinal\n"
            "from vicinal.data.parts import PartsStore, ThresholdMasks, build_parts\n"
            "from vicinal.generate.object_edit import ObjectEdit\n"
            "from vicinal.mixers.recombine import Recombine\n"
            "\n"
            "# once, on all training rows: uint8 images x\n"
            "data = vicinal.Batch.of(x, y)\n"
            "folder = {store} or build_parts(data, tempfile.mkdtemp(), masks=ThresholdMasks(),\n"
            "    editor=ObjectEdit(), copies={copies})\n"
            "data = PartsStore(folder).attach(data)\n"
            "recombine = Recombine(\n"
            "    swap={swap}, edited={edited}, place={place}, objects={objects})\n"
            "\n"
            "# in the training loop; rows of `data` bring all of it as their pool\n"
            "batch = recombine(data[:4])\n"
            "loss = batch.target.loss(model(normalise(batch.x)))"
        ),
    )

    def __init__(
        self,
        store: str | None = None,
        *,
        masks: Literal["threshold", "saliency"] = "threshold",
        copies: int = 2,
        swap: float = 0.5,
        edited: float = 0.5,
        place: float = 0.5,
        objects: int = 1,
    ) -> None:
        self.card.check(store=store, masks=masks, copies=copies, swap=swap, edited=edited)
        self.card.check(place=place, objects=objects)
        super().__init__()
        self.store = store
        self.masks = masks
        self.copies = int(copies)
        self.recombine = Recombine(
            swap, edited=edited, place=place, objects=1 if objects == 1 else 2
        )

    def start(self, setting: Setting) -> Learner:
        learner = super().start(setting)
        if self.store is not None:
            PartsStore(self.store)  # what cannot be read is refused before training
        return learner

    def augmented(self, learner: Learner, batch: Batch) -> tuple[Batch, Params | None]:
        own = learner.draws(batch).within("recombine")
        batch, params = learner.fitted["recombine"].augment(batch, own)
        batch = self.based(learner, batch)
        return batch.replace(x=learner.setting.prepare(batch.x)), params

    def enter(self, learner: Learner, phase: Phase, steps: int) -> None:
        super().enter(learner, phase, steps)
        data = learner.setting.part("train")
        if self.store is not None:
            parts = PartsStore(self.store).attach(data)
        else:
            # Files that are mapped stay readable after their names are gone.
            with tempfile.TemporaryDirectory(prefix="vicinal-", ignore_cleanup_errors=True) as made:
                build_parts(
                    data,
                    made,
                    masks=MASKS[self.masks](),
                    editor=ObjectEdit() if self.copies else None,
                    copies=self.copies,
                    seed=learner.setting.seed,
                )
                parts = PartsStore(made).attach(data)
        found = float(parts.extras["usable"].float().mean())
        if found < FEWEST:
            what = self.store or f"masks by {self.masks}"
            raise ValueError(
                f"{what} tells an object from its background in {found:.0%} of the images: give "
                "store=, a folder that build_parts wrote with better masks"
            )
        learner.fitted["recombine"] = self.recombine.fit(parts)
