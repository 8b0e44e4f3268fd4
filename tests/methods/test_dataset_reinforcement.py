"""Training on a store."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from tests.methods.ground import ConvNet, make_setting
from torch import Tensor

from vicinal import Batch, Target
from vicinal.compare.training import Examples, train
from vicinal.core.augmentation import Augmentation
from vicinal.core.errors import InputError
from vicinal.core.method import Learner
from vicinal.data.reinforced import Teacher, reinforce
from vicinal.methods.dataset_reinforcement import DatasetReinforcement
from vicinal.methods.twin import trained_twin
from vicinal.mixers.paste import CutMix
from vicinal.mixers.with_partners import WithPartners
from vicinal.policies.randaugment import RandAugment
from vicinal.testing.methods import checks_for_method
from vicinal.testing.training import BATCH_SIZE, CLASSES, ROWS, Ground
from vicinal.transforms.image.flip import HorizontalFlip

GROUND = Ground("image", "classification", "small-resnet:width=8")


def data() -> Batch:
    """The training rows of the ground's task."""
    task = GROUND.task()
    rows = torch.arange(ROWS)
    return Batch(x=task.x[rows], target=Target.of(task.y[rows]), index=rows)


def oracle(x: Tensor) -> Tensor:
    """Sees which bar is the brightest, and is not quite sure."""
    columns = x.float().mean(dim=(1, 2))
    bars = torch.stack([columns[:, 2 + 4 * bar : 6 + 4 * bar].mean(dim=1) for bar in range(3)], 1)
    return (bars / 15).softmax(dim=1)


def store(folder: Path, augmentation: Augmentation | None = None) -> str:
    chosen = WithPartners(CutMix(), RandAugment()) if augmentation is None else augmentation
    teacher = Teacher("an oracle", "1", oracle)
    return str(reinforce(data(), folder, augmentation=chosen, teacher=teacher, records=4, top_k=2))


def weights(learner: Learner) -> Tensor:
    return torch.cat([one.detach().flatten() for one in learner.model.parameters()])


def test_with_a_store_it_keeps_the_contract_of_methods(tmp_path: Path) -> None:
    folder = store(tmp_path)
    checks = checks_for_method(DatasetReinforcement(folder))
    assert len(checks) > 5
    for check in checks:
        check()


def test_a_student_learns_from_the_store_alone(tmp_path: Path) -> None:
    method = DatasetReinforcement(store(tmp_path), prob=1.0)
    learner, progress, arena = GROUND.run(method, epochs=8)
    assert progress.curves["train loss"][-1] < 0.7 * progress.curves["train loss"][0]
    lies = (GROUND.task().y + 1) % CLASSES
    lied_to, _, _ = GROUND.run(method, epochs=8, relabelled=lies)
    assert torch.equal(weights(learner), weights(lied_to))
    assert arena.judge(method, learner).metrics["accuracy"] >= 0.75


def test_a_share_of_the_rows_keeps_its_label_and_the_baseline(tmp_path: Path) -> None:
    method = DatasetReinforcement(store(tmp_path), prob=0.5)
    lies = (GROUND.task().y + 1) % CLASSES
    (told, _, _), (lied_to, _, _) = GROUND.run(method), GROUND.run(method, relabelled=lies)
    assert not torch.equal(weights(told), weights(lied_to))


def test_the_model_sees_what_the_teacher_saw(tmp_path: Path) -> None:
    method = DatasetReinforcement(store(tmp_path), prob=1.0)
    arena = GROUND.arena()
    learner = method.start(arena.setting)
    whole = data()
    batch, params = method.augmented(learner, whole[torch.arange(BATCH_SIZE)])
    opened = learner.fitted["replay"].store  # type: ignore[attr-defined]
    raw = opened.augmentation.apply(
        whole[torch.arange(BATCH_SIZE)],
        opened.rows.params[params.place],  # type: ignore[union-attr]
    )
    assert torch.equal(batch.tensor, arena.setting.prepare(raw.tensor))
    said = oracle(raw.tensor).topk(2)
    dense = batch.target.dense(CLASSES)  # type: ignore[union-attr]
    torch.testing.assert_close(dense.gather(1, said.indices), said.values, atol=5e-4, rtol=0)
    torch.testing.assert_close(dense.sum(dim=1), torch.ones(BATCH_SIZE))


def test_without_a_store_a_twin_teaches_and_the_model_has_all_its_steps() -> None:
    learner, _, _ = GROUND.run(DatasetReinforcement(), epochs=3)
    assert learner.updates["model"] == learner.step == 9
    assert learner.updates["teacher"] == 9
    assert set(learner.networks) == {"model"}


def test_a_twin_is_trained_on_the_labels() -> None:
    arena = GROUND.arena(epochs=20)
    network = trained_twin(arena.setting, data(), 40).eval()
    with torch.no_grad():
        guessed = network(arena.setting.prepare(data().tensor)).argmax(dim=1)
    assert (guessed == GROUND.task().y[:ROWS]).float().mean() > 0.9


def test_a_store_of_something_else_is_refused(tmp_path: Path) -> None:
    folder = store(tmp_path / "store", HorizontalFlip())
    five = dataclasses.replace(make_setting(5), outputs=5)
    with pytest.raises(ValueError, match="teaches 3 classes, the data have 5"):
        DatasetReinforcement(folder).start(five)
    setting = make_setting(3, network=ConvNet)
    task = GROUND.task()
    others = Examples(255 - task.x, task.y)
    with pytest.raises(InputError, match=r"was made of other data: 36 of the 36 training rows"):
        train(
            DatasetReinforcement(folder),
            setting,
            others,
            rows=torch.arange(ROWS),
            batch_size=12,
            epochs=1,
        )
    with pytest.raises(InputError, match="is no reinforced dataset"):
        DatasetReinforcement(str(tmp_path)).start(make_setting(5))


@pytest.mark.parametrize(
    "settings, told",
    [
        ({"prob": 1.5}, "prob must be in"),
        ({"records": 0}, "records must be in"),
        ({"top_k": 0.5}, "top_k must be a whole number"),
    ],
)
def test_values_out_of_range_are_refused(settings: dict[str, float], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        DatasetReinforcement(**settings)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="store must be a path"):
        DatasetReinforcement(store=3)  # type: ignore[arg-type]
