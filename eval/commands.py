"""What each command of the command line calls: from the arguments that were read to what is printed.

Loads what a command needs when it is called, so that `--help` and mistakes are answered at once.
"""

from pathlib import Path
from typing import Any

VECTOR_AXES = ("vector_layers", "vector_strength", "vector_positions")


def run(given: dict[str, Any]) -> str:
    from .method_names import split_methods
    from .progress import Progress
    from .run_options import RunOptions
    from .runner import run_methods
    from .summary import summarize_run

    quiet, names = given.pop("quiet"), given.pop("methods")
    strengths = {name: value for name in ("alpha", "beta", "gamma") if (value := given.pop(name)) is not None}
    options = RunOptions(**given)
    names = None if names is None else split_methods(names)
    plan, outcome = run_methods(options, names, strengths, Progress(quiet))
    return str(options.out) if quiet else summarize_run(plan, outcome)


def grid(given: dict[str, Any]) -> str:
    from .grid import Grid, run_grid
    from .progress import Progress
    from .run_options import RunOptions
    from .summary import summarize_grid

    quiet, task = given.pop("quiet"), given.pop("task")
    tried = Grid(**{name: given.pop(name) for name in ("alpha", "beta", "gamma", *VECTOR_AXES)})
    options = RunOptions(**given, tasks=(task,))
    plan, outcome = run_grid(options, tried, Progress(quiet))
    return str(options.out) if quiet else summarize_grid(plan, outcome)


def tune(given: dict[str, Any]) -> str:
    from .grid import Grid
    from .progress import Progress
    from .run_options import RunOptions
    from .summary import summarize_tune
    from .tune import run_tune

    quiet, task = given.pop("quiet"), given.pop("task")
    tried = Grid(**{name: given.pop(name) for name in ("alpha", *VECTOR_AXES)})
    write, default = given.pop("write"), given.pop("default_alpha")
    given["out"] = given["out"] or _default_out(given["model"], "tune", task)
    options = RunOptions(**given, tasks=(task,))
    tuned = run_tune(options, tried, write, Progress(quiet), default)
    return str(options.out) if quiet else summarize_tune(tuned)


def fit(given: dict[str, Any]) -> str:
    """Nothing to say on ranks beside the first."""
    from .fit import run_fit
    from .fit_summary import summarize_fit
    from .fitting.options import FitOptions
    from .fitting.ranks import fitting_ranks, own_device
    from .fitting.search import SearchOptions
    from .progress import Progress
    from .run_options import RunOptions

    quiet, task = given.pop("quiet"), given.pop("task")
    names = {"penalty": "penalties", "epochs": "epochs", "rate": "rate", "seed": "seed"}
    asked = {field: given.pop(name) for name, field in names.items()}
    search = SearchOptions(**{name: value for name, value in asked.items() if value is not None})
    others = ("objective", "end", "layers", "sharing", "split", "groups", "memory", "checkpointing", "write")
    chosen = FitOptions(**{name: given.pop(name) for name in others}, search=search)
    given["out"] = given["out"] or _default_out(given["model"], "fit", task)
    options = RunOptions(**given, tasks=(task,))
    with fitting_ranks() as rank:
        fitted = run_fit(own_device(options), chosen, Progress(quiet or rank > 0), rank)
    if fitted is None:
        return ""
    return str(options.out) if quiet else summarize_fit(fitted)


def finetune(given: dict[str, Any]) -> str:
    """Nothing to say on ranks beside the first."""
    from .finetune import run_finetune
    from .finetuning.options import FinetuneOptions
    from .finetuning.ranks import Ranks
    from .progress import Progress
    from .run_options import RunOptions

    quiet, task = given.pop("quiet"), given.pop("task")
    changes = [*given.pop("changes"), *(f"rows={rows}" for rows in [given.pop("rows")] if rows is not None)]
    changes += ["load_in_4bit=true"] if given.pop("load_in_4bit") else []
    values = given.pop("values")
    names = ("train", "targets", "setups", "select", "random", "together", "source", "settings", "site")
    chosen = FinetuneOptions(
        **{name: given.pop(name) for name in names},
        task=task,
        changes=tuple(changes),
        values=() if values == ("none",) else values,
    )
    ranks = Ranks.of_launch(given["device"])
    finetuned = run_finetune(RunOptions(**given, tasks=(task,)), chosen, Progress(quiet or not ranks.leads), ranks)
    if finetuned is None:
        return ""
    return str(finetuned.work.options.out) if quiet else finetuned.summary()


def vectors(given: dict[str, Any]) -> str:
    from .progress import Progress
    from .run_options import RunOptions
    from .vectors import VectorOptions, make_vectors, summarize_vectors

    quiet, task = given.pop("quiet"), given.pop("task")
    chosen = VectorOptions(**{name: given.pop(name) for name in ("file", "state", "overwrite")})
    made = make_vectors(RunOptions(**given, out=chosen.file, tasks=(task,)), chosen, Progress(quiet))
    return str(chosen.file) if quiet else summarize_vectors(made, chosen.file)


def _default_out(model: str, command: str, task: str) -> Path:
    return Path(f"{Path(model).resolve().name}-{command}-{task}")


def lens(given: dict[str, Any]) -> str:
    from .analysis.lens import LensOptions, run_lens
    from .method_names import split_methods
    from .progress import Progress
    from .run_options import RunOptions

    quiet, task, names = given.pop("quiet"), given.pop("task"), given.pop("methods")
    looked = LensOptions(given.pop("layers"), given.pop("raw"), given.pop("pca"))
    given["out"] = given["out"] or _default_out(given["model"], "lens", task)
    options = RunOptions(**given, tasks=(task,))
    result = run_lens(options, looked, None if names is None else split_methods(names), Progress(quiet))
    return str(options.out) if quiet else result.summary()


def perplexity_change(given: dict[str, Any]) -> str:
    from .analysis.perplexity_change import PerplexityChangeOptions, run_perplexity_change
    from .progress import Progress

    quiet = given.pop("quiet")
    result = run_perplexity_change(PerplexityChangeOptions(**given), Progress(quiet))
    return str(result.folder) if quiet else result.summary()


def interventions(given: dict[str, Any]) -> str:
    from clas_models.profiling.selections import split_selections

    from .analysis.interventions import InterventionOptions, run_interventions
    from .progress import Progress
    from .run_options import RunOptions

    quiet, task = given.pop("quiet"), given.pop("task")
    selections, values, site = (given.pop(name) for name in ("selections", "values", "site"))
    asked = InterventionOptions(split_selections(selections) if selections else (), values, site)
    given["out"] = given["out"] or _default_out(given["model"], "interventions", task)
    result = run_interventions(RunOptions(**given, tasks=(task,)), asked, Progress(quiet))
    return str(result.folder) if quiet else result.summary()


def report(given: dict[str, Any]) -> str:
    from .analysis.neuron_section import annexes, is_neuron_report
    from .report import write_report

    neurons = [path for path in given["runs"] if is_neuron_report(path)]
    runs = [path for path in given["runs"] if path not in neurons]
    out = given["out"] or given["runs"][0] / "report"
    return str(write_report(runs, out, annexes(neurons), overwrite=given["overwrite"])[0])


def compare(given: dict[str, Any]) -> str:
    from .compare import compare_runs, summarize_agreement

    return summarize_agreement(compare_runs(given["first"], given["second"]))


def transfer(given: dict[str, Any]) -> str:
    from .transfer import transfer as told

    return told(**given)


def layers(given: dict[str, Any]) -> str:
    from .neuron_tables import neuron_table

    return neuron_table(**given)


def neurons(given: dict[str, Any]) -> str:
    from .analysis.neurons import PAGE_NAME, report_neurons, summarize_neurons

    quiet, out = given.pop("quiet"), given["out"] or Path(f"{Path(given['model']).resolve().name}-neurons")
    report = report_neurons(**{**given, "out": out})
    return str(out / PAGE_NAME) if quiet else summarize_neurons(report, out)


def card(given: dict[str, Any]) -> str:
    from .card import write_card

    return str(write_card(given["checkpoint"], given["runs"], overwrite=given["overwrite"]))
