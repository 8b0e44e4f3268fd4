"""The cases that the contracts have to carry, one by one, each in its smallest form."""

from __future__ import annotations

import pytest
import torch
from tests.methods.ground import CLASSES, ConvNet, images, run, weights
from tests.methods.recipes.mixing import RandomLayer
from tests.methods.recipes.partners import ConfidentUnlabelled
from tests.methods.recipes.phases import ClosedForm, ContrastThenProbe

from vicinal import Batch, ClassTarget, CutMix, Draws, Mixup, Target
from vicinal.compare.training import Examples, divide
from vicinal.core import registry
from vicinal.core.attention import ClassAttention
from vicinal.core.element_target import IGNORED, ElementTarget
from vicinal.core.probe import Features, Saliency, ask, listening
from vicinal.core.ragged import Ragged
from vicinal.data.splits import splits
from vicinal.evaluate.calibration import fit_temperature
from vicinal.latent.at_layer import AtLayer
from vicinal.methods.adautomix import AdAutoMix
from vicinal.methods.arms import parse_arms, with_controls
from vicinal.mixers.label_kernel import pair_probabilities
from vicinal.mixers.scene_union import SceneUnion
from vicinal.mixers.with_partners import WithPartners
from vicinal.testing import make_batch
from vicinal.testing.training import Ground
from vicinal.transforms.image.flip import HorizontalFlip
from vicinal.transforms.orbit import Orbit

LOGITS = torch.tensor([[2.0, -1.0, 0.5]])


def test_labels_are_decided_after_the_forward_pass_and_need_not_sum_to_one() -> None:
    target = ClassTarget(torch.tensor([[0, 2]]), torch.tensor([[0.7, 0.3]]))
    decided = target.reweight(torch.tensor([[0.9, 0.8]]))
    log = LOGITS.log_softmax(1)[0]
    assert decided.loss(LOGITS).item() == pytest.approx(float(-0.9 * log[0] - 0.8 * log[2]))
    same = ClassTarget(torch.tensor([[1, 1]]), torch.tensor([[0.4, 0.6]]))
    assert same.top_weight().tolist() == pytest.approx([1.0])  # equal labels merge on request


def test_elements_that_are_not_asked_for_do_not_count() -> None:
    rows = Ragged.of([torch.tensor([0, IGNORED])])
    wild = torch.cat([LOGITS, 100 * LOGITS.flip(1)])
    assert ElementTarget(rows).loss(wild).item() == pytest.approx(
        Target.of(torch.tensor([0])).loss(LOGITS).item()
    )


def test_rows_out_are_more_or_fewer_than_rows_in_and_say_what_they_are_made_of() -> None:
    square = Batch.of(torch.rand(3, 2, 4, 4), torch.arange(3))
    turned, params = Orbit().augment(square, Draws(0, square.index))
    assert len(turned) == 12
    assert params.source.tolist() == [0] * 4 + [1] * 4 + [2] * 4  # type: ignore[attr-defined]
    scenes = make_batch("points", 5)
    joined, union = SceneUnion().augment(scenes, Draws(0, scenes.index))
    assert len(joined) == 3
    assert union.group[0].tolist() == scenes.index[:2].tolist()  # type: ignore[attr-defined]


def test_partners_come_from_elsewhere_with_params_of_their_own() -> None:
    whole = Batch.of(torch.rand(20, 2, 6, 6), torch.arange(20))
    mixer = WithPartners(CutMix(), HorizontalFlip())
    params = mixer.sample(whole, Draws(0, whole.index))
    mixed = mixer.apply(whole, params)
    for row in range(20):  # a row alone: its partner is not in the batch
        alone = mixer.apply(whole[row : row + 1], params[row : row + 1])
        assert torch.equal(alone.tensor, mixed.tensor[row : row + 1])


def test_one_draw_serves_a_sample_a_group_or_the_whole_batch() -> None:
    batch = Batch.of(torch.rand(8, 1, 16, 16), torch.arange(8))
    draws = Draws(0, batch.index)
    boxes = {
        scope: CutMix(scope=scope).sample(batch, draws).start.unique(dim=0)  # type: ignore[arg-type, no-untyped-call]
        for scope in ("sample", "batch")
    }
    assert len(boxes["batch"]) == 1
    assert len(boxes["sample"]) > 4
    frames = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])
    assert len(draws.grouped(frames).uniform("turn").unique()) == 3


def test_a_method_takes_no_optimiser_steps_or_several_phases() -> None:
    solved, _ = run(ClosedForm(), epochs=1)
    assert solved.updates["model"] == 0
    assert [phase.name for phase in ContrastThenProbe().phases()] == ["contrast", "probe"]
    learner, _ = run(ContrastThenProbe(), epochs=2)
    assert learner.phase == "probe"


def test_labels_that_a_method_may_not_see_change_no_weight() -> None:
    plain, known, hidden = images(), torch.arange(24), torch.arange(24, 60)
    lie = plain.y.clone()
    lie[hidden] = (lie[hidden] + 1) % CLASSES
    (truth, _), (blind, _) = (
        run(
            ConfidentUnlabelled(),
            examples=Examples(plain.x, y),
            rows=known,
            parts={"unlabelled": hidden},
            epochs=1,
        )
        for y in (plain.y, lie)
    )
    assert torch.equal(weights(truth.model), weights(blind.model))


def test_a_method_names_the_arms_that_would_unmask_it() -> None:
    labels = [arm.label for arm in with_controls(parse_arms("none,transmix,madaug"))]
    assert labels == ["none", "transmix", "madaug", "transmix:area_share=1", "madaug:policy_rate=0"]


def test_strength_is_in_units_of_the_data() -> None:
    values = torch.tensor([[1.0], [2.0], [4.0], [9.0]])
    spread = float(values.std())
    near = pair_probabilities(values, values, 0.5 * spread)
    tenfold = pair_probabilities(10 * values, 10 * values, 5 * spread)
    torch.testing.assert_close(near, tenfold)


def test_a_probe_says_when_it_asks_in_which_mode_and_which_network() -> None:
    model = ConvNet(CLASSES).train()
    x = torch.randn(4, 1, 8, 8)
    batch = Batch.of(x, torch.arange(4) % CLASSES)
    before, twin = Saliency(), Features(layer="features.0", network="twin")
    found = ask([before, twin], {"model": model, "twin": ConvNet(CLASSES)}, batch).evidence
    assert set(found) == {before, twin}
    assert model.training  # asked in evaluation mode, and put back
    during = Features(when="during", layer="features.0")
    with listening([during], {"model": model}) as heard:
        model(x)
    assert heard[during].requires_grad
    with pytest.raises(ValueError, match="class token"):
        ClassAttention().require(model)


def test_any_mixer_or_transform_works_at_a_layer() -> None:
    model = ConvNet(CLASSES, dropout=0.0).eval()
    batch = Batch.of(torch.randn(4, 1, 8, 8), torch.arange(4) % CLASSES)
    draws = Draws(0, batch.index)
    outputs = [
        AtLayer(augmentation, "features.0").forward(model, batch, draws)[0]
        for augmentation in (Mixup(), CutMix(), HorizontalFlip(1.0))
    ]
    plain = model(batch.x)
    assert all(not torch.allclose(output, plain) for output in outputs)
    run(RandomLayer(), epochs=1)


def test_who_receives_gradients_is_stated() -> None:
    assert AdAutoMix.moved == {"model", "generator", "twin"}
    learner, _, _ = Ground("image", "classification", "small-resnet:width=8").run(AdAutoMix())
    assert not any(one.requires_grad for one in learner.networks["twin"].parameters())
    moving = {name: optimiser.param_groups for name, optimiser in learner.optimisers.items()}
    owners = {id(one) for one in learner.networks["generator"].parameters()}
    assert {id(one) for group in moving["generator"] for one in group["params"]} <= owners


def test_where_code_departs_from_its_paper_the_card_says_so() -> None:
    assert any("as released" in line for line in AdAutoMix.card.differs)
    signs = AdAutoMix.card.parameters["similarity_sign"]
    assert signs.default == 1
    told = [component for component in registry.components() if component.card.differs]
    assert len(told) > 10


def test_copies_stay_on_one_side_and_partners_in_their_part() -> None:
    from vicinal.data.read import read_task

    task = read_task("digits")
    split = splits(task)[0]
    assert not set(split.train.tolist()) & set(split.test.tolist())
    parts = divide(ConfidentUnlabelled(), split.train, task.y, seed=0)
    together = torch.cat(list(parts.values()))
    assert set(together.tolist()) == set(split.train.tolist())
    assert len(together) == len(split.train)


def test_a_temperature_is_fitted_until_it_is() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 5 * torch.randn(2000, 4, generator=generator)
    labels = torch.multinomial((logits / 5).softmax(1), 1, generator=generator)[:, 0]
    fitted = fit_temperature(logits, labels)
    loss = [
        torch.nn.functional.cross_entropy(logits.double() / (fitted * off), labels).item()
        for off in (0.999, 1.0, 1.001)
    ]
    assert loss[1] == min(loss)
    assert fitted == pytest.approx(5, rel=0.1)
