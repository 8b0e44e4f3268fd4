"""The command from end to end, on small data."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import vicinal
from vicinal import cli


@pytest.fixture(autouse=True)
def empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")


def output(*arguments: str, code: int = 0) -> str:
    threads = ["--threads", "1"] if arguments[0] == "compare" else []
    result = CliRunner().invoke(cli.app, [*arguments, *threads])
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout


def page(name: str) -> str:
    return (Path("runs") / name / "report.html").read_text(encoding="utf-8")


def test_a_comparison_prints_choices_verdicts_and_the_lines_to_go_on_with() -> None:
    shown = output(
        "compare",
        "wine",
        "--methods",
        "none,mixup:alpha=0.2,cutmix",
        "--seeds",
        "2",
        "--epochs",
        "2",
    )
    assert "178 rows of 13, 3 classes" in shown
    assert "cutmix is left out" in shown
    assert "mlp" in shown
    assert "mixup:alpha=0.2" in shown
    assert any(word in shown for word in ("helps", "hurts", "no evidence yet"))
    assert "vicinal.Target.of(y)" in shown or "vicinal.Mixup(alpha=0.2)" in shown
    assert "report: runs/wine/report.html" in shown
    assert "mixup:alpha=0.2" in page("wine")
    assert Path("runs/wine/results.sqlite").is_file()


def test_one_seed_gives_no_verdict() -> None:
    shown = output("compare", "wine", "--methods", "none,mixup", "--seeds", "1", "--epochs", "1")
    assert "One seed gives no verdict" in shown
    assert "too few seeds" in shown
    assert "helps" not in shown


def test_a_report_is_rebuilt_from_the_store() -> None:
    output("compare", "wine", "--methods", "none,mixup", "--seeds", "2", "--epochs", "1")
    before = page("wine")
    Path("runs/wine/report.html").unlink()
    assert "no evidence yet" in output("report", "runs/wine")
    assert page("wine") == before


def test_the_same_command_again_trains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("compare", "wine", "--methods", "none,mixup", "--seeds", "2", "--epochs", "1")
    first = output(*arguments)

    def trained(*_arguments: object, **_options: object) -> None:
        raise AssertionError("a trial was run again")

    monkeypatch.setattr("vicinal.compare.execute.run_trial", trained)
    again = output(*arguments)
    assert first.partition("held-out accuracy;")[2] == again.partition("held-out accuracy;")[2]
    assert again.count("(from the store)") == 4


def test_the_printed_yaml_repeats_the_comparison_from_the_store() -> None:
    first = output(
        *("compare", "wine", "--methods", "none,mixup", "--seeds", "2", "--epochs", "1"),
        *("--optimiser", "sgd", "--holdout", "0.3", "--weight-decay", "0.1"),
    )
    block = first.partition("for vicinal compare --config:")[2].partition("report:")[0]
    Path("again.yaml").write_text(textwrap.dedent(block))
    again = output("compare", "--config", "again.yaml")
    assert again.count("(from the store)") == 4


def test_an_edited_component_is_trained_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("compare", "wine", "--methods", "none", "--seeds", "1", "--epochs", "1")
    output(*arguments)
    monkeypatch.setattr("vicinal.compare.plan._package_fingerprint", lambda: "edited")
    assert "(from the store)" not in output(*arguments)


def test_folds_give_a_trial_each() -> None:
    shown = output(
        "compare",
        "wine",
        "--methods",
        "none,mixup",
        "--seeds",
        "1",
        "--folds",
        "3",
        "--epochs",
        "1",
    )
    assert "6 trials" in shown
    assert "3 folds" in shown


def test_regression_is_judged_by_its_error() -> None:
    shown = output(
        "compare", "diabetes", "--methods", "none,mixup", "--seeds", "2", "--epochs", "1"
    )
    assert "held-out RMSE" in shown
    assert "ECE" not in shown


def test_a_configuration_is_read_and_flags_win() -> None:
    Path("settings.yaml").write_text(
        "data: wine\nmethods: [none, mixup]\nseeds: 1\nepochs: 7\nlearning-rate: 1e-3\n"
    )
    shown = output("compare", "--config", "settings.yaml", "--epochs", "2")
    assert "epochs         2" in shown
    assert "0.001" in shown


def test_a_diverging_arm_is_named_and_the_others_are_judged() -> None:
    shown = output(
        "compare",
        "diabetes",
        "--methods",
        "none",
        "--seeds",
        "2",
        "--epochs",
        "2",
        "--optimiser",
        "sgd",
        "--learning-rate",
        "1e30",
        code=1,
    )
    assert "failed" in shown
    assert "--learning-rate" in shown
    assert "0 of 2 trials are done" in shown
    assert "To go on" not in shown


def picture(mode: str, size: tuple[int, int], seed: int) -> Image.Image:
    generator = np.random.default_rng(seed)
    if mode == "I;16":
        return Image.fromarray(generator.integers(0, 65536, size[::-1]).astype(np.uint16))
    colours = Image.fromarray(generator.integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
    return colours.convert(mode)


def awkward_photos() -> None:
    """A folder as people have it, with a broken JPEG, a rotated one, and every mode and size."""
    modes = [("RGB", "jpg"), ("L", "png"), ("RGBA", "png"), ("P", "png"), ("I;16", "png")]
    for label in ("cat", "dog"):
        folder = Path("photos") / label
        folder.mkdir(parents=True)
        for number in range(15):
            mode, suffix = modes[number % len(modes)]
            size = (16 + number % 3, 16 + number % 4)
            image = picture(mode, size, seed=number + 100 * (label == "dog"))
            image.save(folder / f"{number}.{suffix}")
    buffer = io.BytesIO()
    picture("RGB", (40, 40), seed=7).save(buffer, "JPEG")
    (Path("photos/cat") / "cut_short.jpg").write_bytes(
        buffer.getvalue()[: len(buffer.getvalue()) // 3]
    )
    rotated = picture("RGB", (24, 16), seed=8)
    exif = rotated.getexif()
    exif[0x0112] = 6
    rotated.save(Path("photos/dog") / "rotated.jpg", exif=exif)


def test_awkward_photos_are_handled_and_said_so() -> None:
    awkward_photos()
    shown = output("compare", "photos", "--methods", "none,cutmix", "--seeds", "1", "--epochs", "1")
    flat = " ".join(shown.split())
    assert "31 rows" in flat  # 15 + 15 + the rotated one
    found = ("cut_short.jpg", "transparency", "palette", "8 bits", "EXIF", "grey", "image size")
    for word in found:
        assert word.lower() in flat.lower(), word
        assert word.lower() in page("photos").lower(), word


def test_missing_values_and_unseen_classes_are_handled_and_said_so() -> None:
    Path("data").mkdir()
    rows = [f"{n},{'' if n % 7 == 0 else n * 2},{'xy'[n % 2]}" for n in range(40)]
    Path("data/train.csv").write_text("\n".join(["a,b,label", *rows]) + "\n")
    test = [f"{n + 0.5},{n},{'xyz'[n % 3]}" for n in range(12)]
    Path("data/test.csv").write_text("\n".join(["a,b,label", *test, rows[0]]) + "\n")
    shown = output("compare", "data", "--methods", "none,mixup", "--seeds", "1", "--epochs", "1")
    flat = " ".join(shown.split()).lower()
    for word in ("missing values", "only the test part has", "copies of training rows"):
        assert word in flat, (word, flat)
        assert word in page("data").lower(), word


def test_folds_leave_the_test_part_out_and_say_so() -> None:
    for name, rows in (("train", 30), ("test", 6)):
        Path("parts").mkdir(exist_ok=True)
        lines = [f"{row % 7},{row % 3}.{row},{'ab'[row % 2]}" for row in range(rows)]
        Path(f"parts/{name}.csv").write_text("\n".join(["one,two,label", *lines]) + "\n")
    arguments = ("--methods", "none,mixup", "--seeds", "1", "--epochs", "1", "--folds", "2")
    shown = output("compare", "parts", *arguments)
    assert "the test part of 6 rows is not used" in " ".join(shown.split())


def test_uneven_classes_are_named() -> None:
    lines = [f"{row},{row % 5},{'rare' if row < 4 else 'common'}" for row in range(60)]
    Path("rows.csv").write_text("\n".join(["one,two,label", *lines]) + "\n")
    arguments = ("--methods", "none,mixup", "--seeds", "1", "--epochs", "1", "--target", "label")
    flat = " ".join(output("compare", "rows.csv", *arguments).split())
    assert "classes are uneven, from 4 rows (rare) to 56 (common)" in flat


def test_other_data_of_the_same_name_are_refused_and_nothing_is_lost() -> None:
    for place, shift in (("here", 0), ("there", 1)):
        Path(place).mkdir()
        lines = [f"{row + shift},{row % 5},{'ab'[row % 2]}" for row in range(40)]
        Path(place, "rows.csv").write_text("\n".join(["one,two,label", *lines]) + "\n")
    arguments = ("--methods", "none,mixup", "--seeds", "1", "--epochs", "1", "--target", "label")
    output("compare", "here/rows.csv", *arguments)
    before = page("rows")
    result = CliRunner().invoke(cli.app, ["compare", "there/rows.csv", *arguments])
    assert result.exit_code == 2
    assert "runs/rows holds the results of other data called rows (here/rows.csv)" in result.stderr
    assert page("rows") == before


def test_a_report_of_a_shared_store_is_of_the_run_that_is_named() -> None:
    url = f"sqlite:///{Path('shared.sqlite').resolve()}"
    for name in ("wine", "breast_cancer"):
        short = ("--methods", "none,mixup", "--seeds", "1", "--epochs", "1")
        output("compare", name, *short, "--store", url)
    Path("runs/wine/report.html").unlink()
    output("report", "runs/wine", "--store", url)
    assert "wine" in page("wine")
    Path("elsewhere").mkdir()
    result = CliRunner().invoke(cli.app, ["report", "elsewhere", "--store", url])
    assert result.exit_code == 2
    assert "the runs breast_cancer, wine and none called elsewhere" in result.stderr
    missing = f"sqlite:///{Path('absent.sqlite').resolve()}"
    assert CliRunner().invoke(cli.app, ["report", "runs/wine", "--store", missing]).exit_code == 2
    assert not Path("absent.sqlite").exists()


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("vicinal methods > /dev/full", 1, "the output cannot be written: no space is left"),
        ("PYTHONIOENCODING=ascii vicinal methods", 0, ""),
        ("vicinal methods | head -1; exit ${PIPESTATUS[0]}", None, ""),
    ],
)
def test_an_output_that_takes_no_more_gives_no_traceback(
    command: str, code: int | None, said: str
) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    run = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env={**os.environ, "PATH": path}
    )
    assert code is None or run.returncode == code
    assert said in run.stderr
    assert "Traceback" not in run.stderr


def test_the_version_is_told() -> None:
    assert output("--version") == f"vicinal {vicinal.__version__}\n"


def test_help_names_the_commands() -> None:
    shown = output("--help")
    assert all(name in shown for name in ("compare", "report", "methods"))


def test_the_catalogue_is_json_that_parses() -> None:
    assert len(json.loads(output("methods", "--format", "json"))) >= 10
