"""What a conversion tells at its end: what it made of the model, what is in force, and how to use the checkpoint."""

from ..command_line import EVAL
from ..modeling.auto_language import AUTO
from .conversion import Result
from .in_force import in_force, steered_language


def summarize(result: Result, seconds: float) -> str:
    """Neurons and vectors and why they are steered there, the strengths, and lines that load the checkpoint."""
    fields = result.checkpoint.fields
    others = (code for code in fields["languages"] if code != fields["anchor_language"])
    example = steered_language(fields) or next(others)
    language = "" if fields["language"] == AUTO else f'language="{example}", '
    lines = [
        *(line for part in result.parts for line in ("", *part.summary())),
        f"In force: {in_force(fields)}",
        *_detector_line(result),
        *_quantiles_line(result),
        f"Done in {seconds:.0f} s: {result.out}",
        "",
        "    import clas_models; from transformers import AutoModelForCausalLM, AutoTokenizer",
        f'    model, tokenizer = (C.from_pretrained("{result.out}") for C in (AutoModelForCausalLM, AutoTokenizer))',
        '    print(tokenizer.decode(model.generate(**tokenizer("…", return_tensors="pt"), '
        f"{language}max_new_tokens=40)[0]))",
        "",
        *_advice(result),
    ]
    return "\n".join(lines)


def _advice(result: Result) -> list[str]:
    decide = f"decide with: {EVAL} tune {result.out} --task …"
    one_layer = len(result.checkpoint.fields.get("vector_layers", ())) < 2
    decide += " --write" if one_layer else ""
    if result.plain_text is not None:
        return [f"{result.plain_text.verdict}; {decide}", ""]
    if result.vectors is not None and not result.vectors.act:
        return [f"Vectors have strength 0; {decide}, or give --vector-strength", ""]
    return []


def _quantiles_line(result: Result) -> list[str]:
    if (made := result.checkpoint.quantiles) is None:
        return []
    told = ", ".join(f"P{percent}" for percent in made.percents)
    return [f"Quantiles of activations: {told}, of {int(made.tokens.sum()):,} tokens; see {EVAL} neurons {result.out}"]


def _detector_line(result: Result) -> list[str]:
    if result.detector is None:
        return [
            f"No language detector ({result.no_detector}): name the language of each input, or make a detector with "
            "--detector-corpus"
        ]
    accuracy = f": {result.detector.accuracy}" if result.detector.accuracy else ""
    return [f"Language detector ({result.detector.corpus}){accuracy}"]
