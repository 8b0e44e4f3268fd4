"""From data and a teacher's weights to a store that a comparison trains on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from vicinal import Batch, cli
from vicinal.compare.reinforcement import reinforce_data
from vicinal.core.errors import InputError
from vicinal.data.read import read_task
from vicinal.data.reinforced import ReinforcedStore
from vicinal.data.splits import splits
from vicinal.data.standardise import Standardise
from vicinal.models.build import build_model

MODEL = "small-resnet:width=8"


@pytest.fixture(autouse=True)
def empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def teacher(seed: int = 0, model: str = MODEL) -> str:
    """A network with random weights in a file, as the command takes it."""
    network = build_model(model, input_shape=(1, 8, 8), outputs=10, seed=seed)
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(state, f"teacher-{seed}.safetensors")
    return f"{model}:teacher-{seed}.safetensors"


def output(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli.app, [*arguments, "--threads", "1"])
    assert result.exit_code == code, (result.output, result.exception)
    return " ".join(result.output.split())


def test_a_store_is_written_and_trained_on() -> None:
    arguments = ("reinforce", "digits", "--teacher", teacher(), "--out", "store")
    shown = output(*arguments, "--reinforcements", "2", "--mix", "cutmix")
    assert "2,876 reinforcements in store" in shown  # of 1,438 training rows
    assert ReinforcedStore("store").manifest.teacher[0] == f"{MODEL}:teacher-0.safetensors"
    shown = output(
        *("compare", "digits", "--methods", "dataset_reinforcement:store=store"),
        *("--seeds", "1", "--epochs", "1", "--model", MODEL),
    )
    assert "dataset_reinforcement:store=store, seed 0: accuracy" in shown


def test_rows_that_a_comparison_holds_out_are_left_out() -> None:
    reinforce_data("digits", "store", teachers=[teacher()], records=1, augment="")
    task = read_task("digits")
    rows = splits(task)[0].train
    assert ReinforcedStore("store").index.tolist() == rows.tolist()
    # The average of two teachers' probabilities, of standardised samples.
    both = [teacher(), teacher(1)]
    reinforce_data("digits", "two", teachers=both, records=1, augment="", crop=0, mix="cutmix")
    store = ReinforcedStore("two")
    prepare = Standardise.fit(task.x, rows)
    some = slice(0, 32)
    data = Batch(x=task.x[rows], target=None, index=rows)
    seen = store.augmentation.apply(data[some], store.rows.params[some])
    shares = []
    for seed in (0, 1):
        network = build_model(MODEL, input_shape=(1, 8, 8), outputs=10, seed=seed).eval()
        with torch.no_grad():
            shares.append(network(prepare(seen.tensor)).softmax(dim=1))
    expected = torch.stack(shares).mean(dim=0)
    dense = store.rows.taught[some].target(10).dense(10)
    torch.testing.assert_close(dense, expected, atol=1e-3, rtol=0)


def test_the_same_command_again_makes_nothing_and_another_is_refused() -> None:
    reinforce_data("digits", "store", teachers=[teacher()], records=1)
    before = {path: path.stat().st_mtime_ns for path in Path("store").iterdir()}
    reinforce_data("digits", "store", teachers=[teacher()], records=1)
    assert before == {path: path.stat().st_mtime_ns for path in Path("store").iterdir()}
    with pytest.raises(InputError, match="store holds a store of another teacher"):
        reinforce_data("digits", "store", teachers=[teacher(1)], records=1)


@pytest.mark.parametrize(
    "data, options, told",
    [
        ("diabetes", (), "diabetes is a regression: a store keeps a teacher's classes"),
        ("digits", ("--augment", "mixup"), "--augment mixup: it is no transform or policy"),
        ("digits", ("--augment", ""), "nothing to augment with: give --augment or --mix"),
        ("digits", ("--mix", "randaugment"), "--mix randaugment: it is no mixer"),
        ("digits", ("--reinforcements", "0"), "records must be at least 1, got 0"),
        ("digits", ("--teacher", "small-resnet"), "must be written MODEL:weights.safetensors"),
        ("digits", ("--teacher", f"{MODEL}:no.safetensors"), "no.safetensors cannot be read"),
        (
            "digits",
            ("--teacher", "small-resnet:width=16:teacher-0.safetensors"),
            "the weights are of another model",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_line(
    data: str, options: tuple[str, ...], told: str
) -> None:
    given = teacher()
    shown = output(
        "reinforce", data, "--teacher", given, "--out", "store", "--crop", "0", *options, code=2
    )
    assert told in shown
    assert not Path("store").exists() or not list(Path("store").glob("*.parquet"))


def test_a_store_of_other_rows_is_refused_before_anything_is_trained() -> None:
    reinforce_data("digits", "store", teachers=[teacher()], records=1)
    shown = output(
        *("compare", "digits", "--methods", "none,dataset_reinforcement:store=store"),
        *("--seeds", "1", "--epochs", "1", "--model", MODEL, "--folds", "3"),
        code=2,
    )
    assert "store has no records of" in shown
