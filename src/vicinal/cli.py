"""The command line."""

from __future__ import annotations

import errno
import io
import os
import shlex
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(
    name="vicinal",
    help="Find out which data augmentation helps your model on your data, and how sure that is.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

DATA = "Choice of data"
TRAINING = "Training, chosen from the data where not given"
RUNNING = "Running"


def _refuse(message: str) -> NoReturn:
    """One line on standard error, and the exit code of a wrong input."""
    typer.echo(f"vicinal: {' '.join(message.split())}", err=True)
    raise typer.Exit(2)


def _tell_version(asked: bool) -> None:
    if asked:
        import vicinal

        typer.echo(f"vicinal {vicinal.__version__}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_tell_version),
    ] = False,
) -> None:
    """Find out which data augmentation helps your model on your data, and how sure that is."""


@app.command()
def compare(
    context: typer.Context,
    data: Annotated[
        str | None,
        typer.Argument(
            help="A folder of images, a .parquet, .csv or .jsonl file, or digits, breast_cancer, "
            "diabetes, wine.",
        ),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(help="Such as none,mixup,cutmix:alpha=0.5 (default: the usual ones)."),
    ] = None,
    components: Annotated[
        str | None,
        typer.Option(help="Your own, by comma: files or modules that declare them by a Card."),
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Trials of each method (default 3).")] = None,
    first_seed: Annotated[int | None, typer.Option(help="The lowest seed (default 0).")] = None,
    folds: Annotated[int | None, typer.Option(help="Cross-validate over this many folds.")] = None,
    holdout: Annotated[
        float | None,
        typer.Option(help="Share held out where the data bring no test part (default 0.2)."),
    ] = None,
    controls: Annotated[
        bool | None,
        typer.Option("--controls", help="With the arms that would unmask each method."),
    ] = None,
    labels_per_class: Annotated[
        int | None,
        typer.Option(
            help="Hide all labels but this many of each class (default: none is hidden).",
            rich_help_panel=DATA,
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Column to predict.", rich_help_panel=DATA)
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="Columns to use, by comma.", rich_help_panel=DATA)
    ] = None,
    drop: Annotated[
        str | None, typer.Option(help="Columns not to use, by comma.", rich_help_panel=DATA)
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(help="classification or regression.", rich_help_panel=DATA),
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Side of the images in pixels.", rich_help_panel=DATA)
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="small-resnet, small-vit, mlp, any timm name, or package.module:factory.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(rich_help_panel=TRAINING)] = None,
    batch_size: Annotated[int | None, typer.Option(rich_help_panel=TRAINING)] = None,
    optimiser: Annotated[
        str | None, typer.Option(help="sgd or adamw.", rich_help_panel=TRAINING)
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="At its peak.", rich_help_panel=TRAINING)
    ] = None,
    weight_decay: Annotated[float | None, typer.Option(rich_help_panel=TRAINING)] = None,
    crop: Annotated[
        int | None,
        typer.Option(
            help="Padding of the random crop in pixels, 0 for none.", rich_help_panel=TRAINING
        ),
    ] = None,
    flip: Annotated[
        bool | None,
        typer.Option("--flip/--no-flip", help="Mirror images at random.", rich_help_panel=TRAINING),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu or cuda.", rich_help_panel=RUNNING)
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="32-true, bf16-mixed or 16-mixed.", rich_help_panel=RUNNING),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Trials side by side (default 1).", rich_help_panel=RUNNING)
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(help="Threads of a trial (default: all cores).", rich_help_panel=RUNNING),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(help="Folder of the results (default runs/NAME).", rich_help_panel=RUNNING),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(help="Database URL, instead of SQLite in --out.", rich_help_panel=RUNNING),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(help="YAML file with these settings; flags win.", rich_help_panel=RUNNING),
    ] = None,
) -> None:
    """Compare augmentations on your data, and say which one helps and how sure that is."""
    from vicinal.core.errors import InputError

    given = {k: v for k, v in context.params.items() if v is not None and k != "config"}
    for name in ("columns", "drop", "components"):
        if name in given:
            given[name] = tuple(part.strip() for part in given[name].split(",") if part.strip())
    try:
        raise typer.Exit(_compare(given, config))
    except InputError as error:
        _refuse(str(error))


def _compare(given: dict[str, Any], config: str | None) -> int:
    """Run it. Returns the exit code."""
    from vicinal.compare.comparison import (
        REPORT,
        conclude,
        prepare,
        run_comparison,
        save_report,
    )
    from vicinal.compare.display import Board, show_choices, show_outcome, show_usage
    from vicinal.compare.execute import WorkersLost
    from vicinal.compare.request import Request, read_config
    from vicinal.core.errors import InputError

    settings = (read_config(config) if config is not None else {}) | given
    if "data" not in settings:
        raise InputError("no data: name a folder, a file or digits, breast_cancer, diabetes, wine")
    request = Request(**settings)
    console = _console()
    with console.status("reading the data") if console.is_terminal else nullcontext():
        comparison = prepare(request, command=shlex.join(["vicinal", *sys.argv[1:]]))
    show_choices(console, comparison)
    with comparison.open_store() as store:
        interrupted = False
        lost: str | None = None
        with Board(console, comparison) as board:
            try:
                run_comparison(
                    comparison,
                    store,
                    on_progress=board.on_progress,
                    on_known=board.on_known,
                    on_done=board.on_done,
                )
            except KeyboardInterrupt:
                interrupted = True
            except WorkersLost as error:
                lost = str(error)
        if board.records:
            outcome = conclude(comparison.run, board.records)
            show_outcome(console, outcome)
            path = comparison.out / REPORT
            save_report(path, outcome, store.last_run(outcome.run.name)[2])
            done = sum(record.state == "done" for record in board.records)
            if done == len(comparison.trials):
                show_usage(console, outcome)
            console.print(f"\nreport: {path}", highlight=False, soft_wrap=True)
    if interrupted:
        console.print(
            f"interrupted: {len(board.records)} of {len(comparison.trials)} trials are kept, "
            "the same command goes on from there",
            highlight=False,
        )
        return 130
    if lost is not None:
        typer.echo(f"vicinal: {lost}", err=True)
        return 1
    return 1 if any(record.state == "failed" for record in board.records) else 0


def _console() -> Console:
    """The terminal; a file or pipe gets lines of a hundred characters."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(width=100)


@app.command()
def report(
    run: Annotated[str, typer.Argument(help="The run's folder, such as runs/digits.")],
    store: Annotated[
        str | None, typer.Option(help="Database URL, where the results are not in the folder.")
    ] = None,
) -> None:
    """Rebuild the HTML report of a run from its store."""
    from vicinal.core.errors import InputError

    try:
        _report(run, store)
    except InputError as error:
        _refuse(str(error))


def _report(run: str, store: str | None) -> None:
    from pathlib import Path

    from vicinal.compare.comparison import REPORT, read_outcome, save_report
    from vicinal.compare.display import show_outcome
    from vicinal.compare.refusals import check_folder
    from vicinal.compare.store import Store
    from vicinal.core.errors import InputError

    folder = Path(run)
    if store is None and not folder.is_dir():
        raise InputError(f"{run} is not a folder of results: name one such as runs/digits")
    check_folder(folder)
    with Store(folder if store is None else store, create=False) as opened:
        outcome, gallery = read_outcome(opened, folder)
    path = folder / REPORT
    save_report(path, outcome, gallery)
    console = _console()
    show_outcome(console, outcome)
    console.print(f"\nreport: {path}", highlight=False, soft_wrap=True)


@app.command()
def reinforce(
    data: Annotated[str, typer.Argument(help="As for compare; classes, not values.")],
    teacher: Annotated[
        list[str],
        typer.Option(help="MODEL:weights.safetensors; several are averaged. Gives logits."),
    ],
    out: Annotated[str, typer.Option(help="Folder of the store; what is missing is made.")],
    reinforcements: Annotated[int, typer.Option(help="Augmentations of each row.")] = 20,
    top_k: Annotated[int, typer.Option(help="Classes kept of each.")] = 10,
    augment: Annotated[
        str, typer.Option(help="Transforms and policies after crop and flip, by comma.")
    ] = "randaugment",
    mix: Annotated[
        str | None, typer.Option(help="A mixer after these, such as cutmix:alpha=0.5.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the augmentations.")] = 0,
    holdout: Annotated[
        float | None, typer.Option(help="As for compare: rows held out are left out.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="Column to predict.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Side of the images in pixels.")] = None,
    crop: Annotated[
        int | None, typer.Option(help="Padding of the random crop in pixels, 0 for none.")
    ] = None,
    flip: Annotated[
        bool | None, typer.Option("--flip/--no-flip", help="Mirror images at random.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Threads (default: all cores).")] = None,
) -> None:
    """Keep augmentations of your data and what a teacher says of them, to train on again."""
    from vicinal.core.errors import InputError

    try:
        _reinforce(
            data,
            out,
            threads,
            teachers=teacher,
            augment=augment,
            mix=mix,
            records=reinforcements,
            top_k=top_k,
            seed=seed,
            holdout=holdout,
            target=target,
            image_size=image_size,
            crop=crop,
            flip=flip,
        )
    except InputError as error:
        _refuse(str(error))


def _reinforce(data: str, out: str, threads: int | None, **options: Any) -> None:
    from rich.progress import Progress

    from vicinal.compare.reinforcement import reinforce_data

    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    console = _console()
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("shards", total=None)
        count = reinforce_data(
            data,
            out,
            on_shard=lambda done, total: progress.update(bar, completed=done, total=total),
            **options,
        )
    console.print(
        f"{count:,} reinforcements in {out}; train on them: "
        f"vicinal compare {data} --methods none,dataset_reinforcement:store={out}",
        highlight=False,
        soft_wrap=True,
    )


@app.command()
def methods(
    search: Annotated[
        str | None, typer.Argument(help="Words that the name, summary or paper must hold.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="method, mixer, policy or transform.")] = None,
    family: Annotated[str | None, typer.Option(help="A family, such as paste.")] = None,
    modality: Annotated[str | None, typer.Option(help="image, tabular, series, ...")] = None,
    format: Annotated[str, typer.Option(help="table or json.")] = "table",
) -> None:
    """List what there is, from the cards."""
    from vicinal.catalogue import as_json, as_table, select
    from vicinal.core.errors import InputError

    try:
        if format not in ("table", "json"):
            raise InputError(f"--format must be table or json, got {format!r}")
        cards = select(search=search, kind=kind, family=family, modality=modality)
        if format == "json":
            typer.echo(as_json(cards))
        else:
            _console().print(as_table(cards), highlight=False)
    except InputError as error:
        _refuse(str(error))


def main() -> None:
    """Entry point of the `vicinal` command."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal may lack a character of ours
    try:
        app()
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ENOSPC):
            raise
        # A pipe that is closed early, by `head` say, is no error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.ENOSPC:
            typer.echo("vicinal: the output cannot be written: no space is left", err=True)
        sys.exit(1)
