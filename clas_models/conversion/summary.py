"""What the command line says at the end of a conversion."""

from ..modeling.auto_language import AUTO
from .conversion import Result


def summarize(result: Result, seconds: float) -> str:
    """The layer table, the bridge layers and why, the share of neurons steered, and how to use the checkpoint."""
    shared = sum(int(masks[0].sum()) for masks in result.masks.values())
    specific = sum(int(masks[1].sum()) for masks in result.masks.values())
    neurons = result.profile.num_neurons * len(result.masks)
    example = next(code for code in result.fields["languages"] if code != result.fields["anchor_language"])
    language = "" if result.fields["language"] == AUTO else f'language="{example}", '
    provenance = result.profile.provenance
    lines = [
        "",
        f"Neurons by layer, per cent ({', '.join(provenance.corpus)}: {provenance.samples} samples in each of "
        f"{len(result.profile.languages)} languages, {int(result.profile.tokens.sum()):,} tokens)",
        result.table.to_text(result.bridge.layers),
        "",
        f"Bridge {result.bridge.reason}",
        f"Steered there: {shared / neurons:.1%} of the neurons as shared, {specific / neurons:.1%} as specific",
        *_detector_line(result),
        f"Done in {seconds:.0f} s: {result.out}",
        "",
        "    import clas_models; from transformers import AutoModelForCausalLM, AutoTokenizer",
        f'    model, tokenizer = (C.from_pretrained("{result.out}") for C in (AutoModelForCausalLM, AutoTokenizer))',
        '    print(tokenizer.decode(model.generate(**tokenizer("…", return_tensors="pt"), '
        f"{language}max_new_tokens=40)[0]))",
        "",
    ]
    return "\n".join(lines)


def _detector_line(result: Result) -> list[str]:
    if result.detector is None:
        return ["No language detector: name the language of each input, or make a detector with --detector-corpus"]
    accuracy = f": {result.detector.accuracy}" if result.detector.accuracy else ""
    return [f"Language detector ({result.detector.corpus}){accuracy}"]
