"""Objects on other backgrounds: what is composed, what is seen of it, and what it is called."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vicinal.core.batch import Batch
from vicinal.core.draws import Draws
from vicinal.core.target import MultiLabelTarget
from vicinal.data.parts import GivenMasks, PartsStore, build_parts
from vicinal.mixers.layers import extents, visible, warped
from vicinal.mixers.recombine import Recombine, RecombineParams

SIDE = 24
IDENTITY = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def photographs(count: int = 12) -> tuple[Tensor, Tensor]:
    """Textured images with an ellipse each, and its mask; that of row 3 is empty."""
    generator = torch.Generator().manual_seed(2)
    coarse = torch.rand(count, 3, 6, 6, generator=generator)
    images = torch.nn.functional.interpolate(coarse, size=(SIDE, SIDE + 4), mode="bicubic")
    down = torch.arange(SIDE)[:, None] - 11.0
    across = torch.arange(SIDE + 4) - 14.0
    mask = (down / 5) ** 2 + (across / 7) ** 2 < 1
    masks = mask.repeat(count, 1, 1)
    masks[3] = False
    images = torch.where(masks[:, None], 1 - 0.5 * images, 0.6 * images)
    return (images.clamp(0, 1) * 255).to(torch.uint8), masks


@pytest.fixture(scope="module")
def taken_apart(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    """Twelve images of three classes with their parts."""
    images, masks = photographs()
    batch = Batch.of(images, torch.arange(12) % 3)
    folder = tmp_path_factory.mktemp("parts")
    build_parts(batch, folder, masks=GivenMasks(masks), shard_rows=5)
    return PartsStore(folder).attach(batch)


def drawn(mixer: Recombine, batch: Batch, seed: int = 0) -> RecombineParams:
    return mixer.sample(batch, Draws(seed, batch.index))


def still(batch: Batch, *, filled: bool) -> RecombineParams:
    """Every object as it is, where it was, on its own background."""
    count = len(batch)
    return RecombineParams(
        object=batch.index[:, None],
        variant=torch.zeros(count, 1, dtype=torch.int64),
        background=batch.index,
        filled=torch.full((count,), filled),
        affine=IDENTITY.expand(count, 1, 2, 3).clone(),
    )


def test_parts_put_back_together_are_the_image(taken_apart: Batch) -> None:
    mixer, x = Recombine(), taken_apart.tensor
    unfilled = mixer.apply(taken_apart, still(taken_apart, filled=False)).tensor
    assert torch.equal(unfilled, x)
    again = mixer.apply(taken_apart, still(taken_apart, filled=True)).tensor
    _, masks = photographs()
    wide = torch.nn.functional.max_pool2d(masks.float()[:, None], 5, 1, 2) > 0
    narrow = torch.nn.functional.max_pool2d((~masks).float()[:, None], 5, 1, 2) == 0
    band = (wide & ~narrow).expand_as(x)
    assert 0.1 < band.float().mean() < 0.4
    assert (again.int() - x.int()).abs()[~band].float().mean() < 1
    assert torch.equal(again[~band], x[~band])


def test_the_label_is_the_object_s_on_any_background(taken_apart: Batch) -> None:
    mixer = Recombine(swap=1.0)
    params = drawn(mixer, taken_apart)
    mixed = mixer.apply(taken_apart, params)
    assert torch.equal(mixed.target.dense(3), taken_apart.target.dense(3))  # type: ignore[union-attr]
    swapped = params.background != taken_apart.index
    assert swapped.tolist() == [row != 3 for row in range(12)]
    own, other = taken_apart.index % 3, params.background % 3
    assert (own != other)[swapped].all()  # of another class
    assert not (params.background[swapped] == 3).any()  # that one still shows its object


def test_an_image_whose_object_was_not_found_is_left_as_it_is(taken_apart: Batch) -> None:
    mixer = Recombine(swap=1.0, objects=2, flip=1.0)
    mixed = mixer.apply(taken_apart, drawn(mixer, taken_apart))
    assert torch.equal(mixed.tensor[3], taken_apart.tensor[3])
    weights = mixed.target.dense(3)[3]  # type: ignore[union-attr]
    torch.testing.assert_close(weights, torch.tensor([1.0, 0.0, 0.0]))


def squares(area: tuple[int, int], at: tuple[int, int]) -> Batch:
    """Two images with an opaque object of so many columns in 12 rows, from a column on."""
    parts = torch.zeros(2, 1, 2, 12, 40, dtype=torch.uint8)
    for row, (wide, column) in enumerate(zip(area, at, strict=True)):
        parts[row, :, :, :, column : column + wide] = 255
    extras = {
        "object": parts,
        "background": torch.zeros(2, 1, 12, 40, dtype=torch.uint8),
        "usable": torch.ones(2, dtype=torch.bool),
    }
    x = torch.zeros(2, 1, 12, 40, dtype=torch.uint8)
    return Batch.of(x, torch.arange(2)).replace(extras=extras)


def both(batch: Batch) -> RecombineParams:
    """The object of row 0 behind that of row 1."""
    return RecombineParams(
        object=torch.tensor([[0, 1], [0, 1]]),
        variant=torch.zeros(2, 2, dtype=torch.int64),
        background=batch.index,
        filled=torch.ones(2, dtype=torch.bool),
        affine=IDENTITY.expand(2, 2, 2, 3).clone(),
    )


@pytest.mark.parametrize(
    ("area", "at", "weights"),
    [
        ((18, 6), (0, 20), (0.75, 0.25)),
        ((24, 6), (0, 18), (0.75, 0.25)),  # the one in front hides six columns
        ((6, 20), (4, 0), (0.0, 1.0)),  # hidden altogether
    ],
)
def test_labels_weigh_what_is_seen(
    area: tuple[int, int], at: tuple[int, int], weights: tuple[float, float]
) -> None:
    batch = squares(area, at)
    mixed = Recombine(objects=2).apply(batch, both(batch))
    found = mixed.target.dense(2)[0]  # type: ignore[union-attr]
    torch.testing.assert_close(found, torch.tensor(weights), atol=1e-5, rtol=0)


def test_several_labels_are_joined_by_their_own_rule() -> None:
    batch = squares((18, 6), (0, 20))
    target = MultiLabelTarget(torch.eye(2), rule="union")
    mixed = Recombine(objects=2).apply(batch.replace(target=target), both(batch))
    assert isinstance(mixed.target, MultiLabelTarget)
    assert mixed.target.values[0].tolist() == [1, 1]


def test_a_hidden_object_is_placed_anew() -> None:
    small, large = (3, 34), (18, 3)  # where they are, the one in front hides the other
    batch = squares(small, large)
    mixer = Recombine(objects=2, scale=1.0)
    many = torch.zeros(300, dtype=torch.int64)
    repeated = batch[many].replace(index=torch.arange(2, 302), pool=None)
    extras = {name: torch.cat([batch.extras[name], repeated.extras[name]]) for name in batch.extras}
    whole = Batch.of(torch.zeros(302, 1, 12, 40, dtype=torch.uint8), torch.arange(302) % 2)
    whole = whole.replace(extras=extras)
    params = drawn(mixer, whole)
    opacity = whole.extras["object"][params.object, params.variant, -1].float() / 255
    seen = visible(warped(opacity[:, :, None], params.affine)[:, :, 0]).sum(dim=(2, 3))
    assert (seen >= 1).all(dim=1).float().mean() > 0.97


def test_objects_stay_three_quarters_inside_and_reach_everywhere() -> None:
    batch = squares((8, 8), (16, 16))
    parts = batch.extras["object"].clone()
    parts[..., :3, :] = 0
    parts[..., 9:, :] = 0
    rows = torch.zeros(2000, dtype=torch.int64)
    extras = {
        "object": parts[rows],
        "background": batch.extras["background"][rows],
        "usable": batch.extras["usable"][rows],
    }
    many = Batch.of(torch.zeros(2000, 1, 12, 40, dtype=torch.uint8), rows).replace(extras=extras)
    params = drawn(Recombine(swap=0.0, scale=1.0, place=1.0), many)
    opacity = many.extras["object"][:, 0, -1:].float() / 255
    seen = warped(opacity[:, :, None], params.affine).sum(dim=(1, 2, 3, 4))
    assert seen.min() >= 0.75**2 * 48 - 1e-2
    low, high, _ = extents(warped(opacity[:, :, None], params.affine)[:, :, 0])
    assert low.amin(dim=0).tolist() == [[0, 0]]
    assert high.amax(dim=0).tolist() == [[12, 40]]
    kept = drawn(Recombine(scale=1.0, place=0.0), many)
    torch.testing.assert_close(kept.affine, IDENTITY.expand(2000, 1, 2, 3))


def test_what_touches_a_border_keeps_its_size_and_does_not_leave_it() -> None:
    batch = squares((8, 8), (0, 16))  # both touch above and below, the first also the left
    rows = torch.arange(2).repeat(200)
    extras = {name: value[rows] for name, value in batch.extras.items()}
    many = Batch.of(torch.zeros(400, 1, 12, 40, dtype=torch.uint8), rows).replace(extras=extras)
    affine = drawn(Recombine(place=1.0, scale=2.0), many).affine[:, 0]
    torch.testing.assert_close(affine[:, :, :2], IDENTITY[:, :2].expand(400, 2, 2))
    assert (affine[:, 1, 2] == 0).all()
    assert (affine[rows == 0, 0, 2] == 0).all()
    assert affine[rows == 1, 0, 2].std() > 3


def test_params_replay_without_the_batch_and_from_a_fitted_mixer(taken_apart: Batch) -> None:
    mixer = Recombine(swap=1.0, objects=2)
    params = drawn(mixer, taken_apart)
    wanted = mixer.apply(taken_apart, params)
    again = RecombineParams.from_arrow(params.to_arrow())
    plain = taken_apart.replace(extras={})
    some = torch.tensor([7, 2])
    fitted = mixer.fit(taken_apart)
    replayed = fitted.apply(plain[some].replace(pool=None), again[some])
    assert torch.equal(replayed.tensor, wanted.tensor[some])
    rows = mixer.partners(params)
    assert rows.view(12, 3)[:, :2].equal(params.object)
    assert mixer.readdressed(params, rows + 50).background.equal(params.background + 50)


def test_samples_do_not_depend_on_their_company(taken_apart: Batch) -> None:
    fitted = Recombine(objects=2).fit(taken_apart)
    batch = taken_apart.replace(extras={})
    whole = drawn(fitted, batch)
    some = torch.tensor([9, 1, 4])
    assert drawn(fitted, batch[some]).equal(whole[some])


def test_without_parts_or_levels_it_is_refused(taken_apart: Batch) -> None:
    plain = taken_apart.replace(extras={})
    with pytest.raises(ValueError, match="brings no object or background or usable: attach"):
        drawn(Recombine(), plain)
    with pytest.raises(ValueError, match="brings no object"):
        Recombine().fit(plain)
    floats = taken_apart.replace(x=taken_apart.tensor.float())
    with pytest.raises(TypeError, match="raw images in uint8"):
        Recombine().apply(floats, still(taken_apart, filled=True))
    for settings in ({"swap": 1.5}, {"scale": 0.5}, {"objects": 3}):
        with pytest.raises(ValueError, match=next(iter(settings))):
            Recombine(**settings)  # type: ignore[arg-type]
