"""Table 1 of "Language-Specific Latent Process": a row for each method; and every number by language and by pair.

Only wording and layout; the numbers come from `transfer_numbers.py`.
"""

from collections.abc import Iterator, Mapping, Sequence

from ..analysis.language_families import by_script_and_family, script_and_family
from ..analysis.transfer import QUANTITIES, RELATIONS, by_language, overall
from ..statistics import Array, share_interval, spread
from .collect import TaskResults
from .table import Cell, Table, Value, columns, count
from .transfer_numbers import RECEIVED, MethodTransfer, factor_of, received, shown, title_of
from .words import heading, listed, slug


def methods_table(task: TaskResults, methods: Sequence[MethodTransfer]) -> Table:
    """One row for each method, and a second one where it is at chance in some languages, without these."""
    rows = [(each, "", each.answers.languages) for each in methods]
    for place, each in reversed(list(enumerate(methods, start=1))):
        if each.near:
            rows.insert(place, (each, "above chance", each.above))
    numbers = [overall(each.measures.of(codes), task.anchor) for each, _, codes in rows]
    body, data = [], []
    for (each, part, codes), found in zip(rows, numbers, strict=True):
        accuracies = 100 * each.measures.of(codes).accuracy[0]
        deviation = spread(accuracies.tolist())
        accuracy = shown("accuracy", found["accuracy"][0])
        if deviation is not None and len(codes) > 1:
            accuracy = Cell(f"{accuracy.text} ± {deviation:.2f}", accuracy.value)
        label = f"{each.name}, {part}" if part else each.name
        others = (shown(name, found[name][0]) for name in QUANTITIES[1:])
        body.append((Cell(label), count(len(codes)), count(len(each.answers.keys)), accuracy, *others))
        data.append(_row_data(each, part or "all", codes, deviation, found))
    titles = (title_of(name, task.anchor) for name in QUANTITIES[1:])
    return Table(
        name=slug(task.run, task.task, "transfer"),
        title=f"{heading(task)}: consistency and transfer between languages",
        columns=columns("method", "languages", "questions", "accuracy, %", *titles, words=("method",)),
        body=tuple(body),
        notes=tuple(_notes(task, methods)),
        data=tuple(data),
        summary={"anchor": task.anchor},
    ).trimmed()


def _row_data(
    each: MethodTransfer, part: str, codes: Sequence[str], deviation: float | None, found: Mapping[str, Array]
) -> dict[str, Value]:
    values: dict[str, Value] = {"method": each.name, "part": part, "languages": " ".join(codes)}
    values |= {"questions": len(each.answers.keys), "missing": each.answers.missing, "unlike": each.answers.unlike}
    values |= {name: factor_of(name) * float(found[name][0]) for name in QUANTITIES}
    undefined = {f"undefined {name}": each.measures.of(codes).undefined(name) for name in RELATIONS}
    return values | {"sigma": deviation, "chance": each.answers.chance} | undefined


def _notes(task: TaskResults, methods: Sequence[MethodTransfer]) -> Iterator[str]:
    yield (
        "Means over all ordered pairs of languages; ± is the standard deviation over languages. cons.: Spearman’s rho "
        "of the ranks that the choices of all questions have in the two languages. tr+ from one language to another: "
        "of the questions answered rightly in the first, the share answered rightly in the second. tr−: of those "
        "answered wrongly in the first, the share with the same wrong answer in the second (lower is better)."
    )
    if task.anchor not in task.languages:
        yield f"{task.anchor}, the anchor, has no predictions here, so there is nothing from, to or with it."
    told: dict[str, list[str]] = {}  # what is said of several methods is said once
    for each in methods:
        for note in _method_notes(task, each):
            told.setdefault(note, []).append(each.name)
    yield from (f"{', '.join(names)}: {note}" for note, names in told.items())
    if any(each.near for each in methods):
        yield "Rows “above chance” leave out the languages that are not surely better than guessing."


def _method_notes(task: TaskResults, each: MethodTransfer) -> Iterator[str]:
    answers = each.answers
    if lacking := [code for code in task.languages if code not in answers.languages]:
        yield f"no predictions in {', '.join(lacking)}, so the means are about fewer languages."
    if answers.missing:
        yield f"questions that are not there in all languages, and do not count: {answers.missing}."
    if answers.unlike:
        told = "questions with another right answer, or another number of choices, in some language, which do not count"
        yield f"{told}: {answers.unlike}."
    if answers.ranks is None:
        yield "no consistency, because the predictions do not say how likely each choice was; older runs do not."
    for kind in dict.fromkeys(each.near.values()):
        codes = [code for code, found in each.near.items() if found == kind]
        yield f"{kind} ({100 * (answers.chance or 0):.3g} %) in {listed(codes, answers.languages)}."
    for name in RELATIONS if answers.ranks is not None else RELATIONS[1:]:
        if undefined := each.measures.undefined(name):
            pairs = len(answers.languages) * (len(answers.languages) - 1)
            yield f"{title_of(name)} is undefined for {undefined} of {pairs} pairs, which the mean leaves out."


def languages_table(task: TaskResults, methods: Sequence[MethodTransfer]) -> Table:
    """Every method in every language, related ones together; beside an accuracy stands that it is at chance."""
    body, data = [], []
    numbers = {each.name: by_language(each.measures, task.anchor) for each in methods}
    for code in by_script_and_family(task.languages):
        for each in methods:
            if code not in each.answers.languages:
                continue
            place = each.answers.languages.index(code)
            found = {name: float(values[0, place]) for name, values in numbers[each.name].items()}
            right = int(each.answers.right[place].sum())
            ends = share_interval(right, len(each.answers.keys)).times(100)
            near = each.near.get(code, "")
            accuracy = shown("accuracy", found["accuracy"])
            told = Cell(f"{accuracy.text} ({near})" if near else accuracy.text, accuracy.value)
            kinds = script_and_family(code)
            others = (shown(name, found[name]) for name in QUANTITIES[1:])
            wilson = Cell(f"[{ends.low:.2f}, {ends.high:.2f}]", ends.low)
            body.append((Cell(code), *map(Cell, kinds), Cell(each.name), told, wilson, *others))
            row: dict[str, Value] = {"language": code, "script": kinds[0], "family": kinds[1], "method": each.name}
            row |= {"questions": len(each.answers.keys), "near chance": near or None}
            row |= {name: factor_of(name) * value for name, value in found.items()}
            data.append(row | {"accuracy low": ends.low, "accuracy high": ends.high})
    words = ("language", "script", "family", "method")
    titles = (received(name, task.anchor) for name in QUANTITIES[1:])
    return Table(
        name=slug(task.run, task.task, "transfer-by-language"),
        title=f"{heading(task)}: consistency and transfer by language",
        columns=columns(*words, "accuracy, %", "95 % interval", *titles, words=words),
        body=tuple(body),
        notes=(RECEIVED,),
        data=tuple(data),
        long=task.is_grid,
    ).trimmed()


def _pairs(each: MethodTransfer) -> Iterator[tuple[str, str, list[float]]]:
    order = by_script_and_family(each.answers.languages)
    measures = each.measures.of(order)
    for row, first in enumerate(order):
        for column, second in enumerate(order):
            if first != second:
                yield first, second, [float(measures.pairs(name)[0, row, column]) for name in RELATIONS]


def pairs_table(task: TaskResults, methods: Sequence[MethodTransfer]) -> Table:
    """Every ordered pair of languages, related ones together."""
    found = [(each.name, *pair) for each in methods for pair in _pairs(each)]
    words = ("method", "from", "to")
    return Table(
        name=slug(task.run, task.task, "transfer-pairs"),
        title=f"{heading(task)}: consistency and transfer of every pair",
        columns=columns(*words, *(title_of(name, task.anchor) for name in RELATIONS), words=words),
        body=tuple(
            (
                *(Cell(text) for text in texts),
                *(shown(name, value) for name, value in zip(RELATIONS, values, strict=True)),
            )
            for *texts, values in found
        ),
        data=tuple(
            dict(zip(words, texts, strict=True)) | dict(zip(RELATIONS, values, strict=True)) for *texts, values in found
        ),
        long=True,
    ).trimmed()
