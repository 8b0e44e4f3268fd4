"""The samples as the methods show them."""

from __future__ import annotations

import base64
import io
import math
import random

from PIL import Image

from vicinal.compare.records import Sample
from vicinal.compare.report.samples import Samples, embedded


def png(width: int, height: int, *, noise: bool) -> bytes:
    image = Image.new("RGB", (width, height), (10, 200, 90))
    if noise:
        image = Image.frombytes("RGB", image.size, random.Random(0).randbytes(3 * width * height))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def decoded(uri: str) -> bytes:
    return base64.b64decode(uri.partition(",")[2], validate=True)


def test_a_light_picture_is_embedded_as_it_is() -> None:
    picture = png(96, 96, noise=False)
    uri, sharp = embedded(picture)
    assert uri.startswith("data:image/png;base64,")
    assert decoded(uri) == picture
    assert sharp


def test_a_photograph_is_shrunk_and_keeps_its_proportions() -> None:
    picture = png(500, 250, noise=True)
    uri, sharp = embedded(picture)
    assert uri.startswith("data:image/jpeg;base64,")
    assert not sharp
    with Image.open(io.BytesIO(decoded(uri))) as image:
        assert image.size == (160, 80)
    assert len(decoded(uri)) < len(picture) / 5


def test_the_original_comes_first_and_methods_without_samples_are_named() -> None:
    picture = png(8, 8, noise=False)
    gallery = {m: [Sample(picture, "cat")] for m in ("mixup", "none", "original")}
    samples = Samples.of(gallery, ["none", "manifold_mixup", "mixup"])
    assert [method for method, _ in samples.rows] == ["original", "none", "mixup"]
    assert samples.missing == ["manifold_mixup"]
    assert not samples.table


def test_labels_part_behind_their_weights_only() -> None:
    picture = png(8, 8, noise=False)
    gallery = {
        "original": [Sample(picture, "duck, wild 0.70, goose 0.30"), Sample(picture, "a, b")]
    }
    (_, cells), *_ = Samples.of(gallery, []).rows
    assert [cell.labels for cell in cells] == [
        [("duck, wild", "0.70"), ("goose", "0.30")],
        [("a, b", "")],
    ]


def test_of_a_row_the_values_that_changed_are_shown() -> None:
    before = {f"c{i}": float(i) for i in range(8)} | {"gap": math.nan}
    # c3 comes back from float32, and the gap stays one: neither was changed.
    after = before | {"c1": 1.5, "c2": -4.0, "c3": 3.0000001, "c5": math.nan}
    gallery = {"original": [Sample(b"", "cat", before)], "noise": [Sample(b"", "cat", after)]}
    samples = Samples.of(gallery, ["noise"])
    (_, (original,)), (_, (cell,)) = samples.rows
    assert samples.table
    assert original.changed is None
    assert (cell.changed, cell.columns) == (3, 9)
    assert {(one.column, one.before, one.after) for one in cell.values} == {
        ("c2", "2", "−4"),
        ("c1", "1", "1.5"),
        ("c5", "5", "missing"),
    }
    assert cell.values[0].column == original.values[0].column == "c2"


def test_an_empty_gallery_has_no_rows() -> None:
    assert Samples.of({}, ["none"]).rows == []
