"""`python -m benchmarks.serving STEERED PLAIN`: tokens a second in vLLM, a steered checkpoint against its plain one.

Run it with the Python of an environment that has vLLM.  All engines live in one process and take turns, so that a
machine whose speed drifts is equally fast for all.  There are two of each kind, made in the order plain, steered,
steered, plain: where an engine's memory happens to lie makes several percent, and more than steering does.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .timing import interleaved

REQUESTS = "clas_models.vllm_plugin.requests:RequestLanguages"
# A batch of requests: tokens of a prompt, tokens of an answer.
LOADS = {"prompts": (256, 1), "answers": (16, 32)}
ORDER = ("plain 1", "steered 1", "steered 2", "plain 2")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("steered", type=Path, metavar="STEERED", help="a steered checkpoint")
    parser.add_argument("plain", type=Path, metavar="PLAIN", help="the checkpoint that it was made from")
    parser.add_argument("--rounds", type=int, default=7, help="counted rounds (default: %(default)s)")
    parser.add_argument("--requests", type=int, default=8, help="requests at a time (default: %(default)s)")
    parser.add_argument("--dtype", default="float32", help="as in vLLM (default: %(default)s)")
    parser.add_argument("--language", default="de", help="the language of all requests (default: %(default)s)")
    parser.add_argument("--eager", action="store_true", help="without torch.compile and graphs")
    parser.add_argument("--per-request", action="store_true", help="name the language in each request")
    parser.add_argument("--cpu-time", action="store_true", help="timed in processor seconds, for one core")
    args = parser.parse_args()
    clock = time.process_time if args.cpu_time else time.perf_counter
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    engines = {name: _engine(args, steered="steered" in name) for name in ORDER}
    print("| model | dtype | requests | load | plain | steered / plain |\n|---|---|---|---|---|---|")
    for load, (prompt, answer) in LOADS.items():
        timings = interleaved(
            {name: _task(engine, args, prompt, answer) for name, engine in engines.items()}, args.rounds, clock=clock
        ).seconds
        plain, steered = (
            [first + second for first, second in zip(timings[f"{kind} 1"], timings[f"{kind} 2"], strict=True)]
            for kind in ("plain", "steered")
        )
        speed = 2 * args.requests * (prompt + answer) / statistics.median(plain)
        ratio = statistics.median(a / b for a, b in zip(plain, steered, strict=True))
        print(
            f"| {args.steered.name} | {args.dtype} | {args.requests} | {load}: {prompt} + {answer} tokens | "
            f"{speed:.0f} tokens/s | {ratio:.4f} |",
            flush=True,
        )


def _engine(args: argparse.Namespace, steered: bool) -> Any:
    from vllm import LLM

    options: dict[str, Any] = {}
    if steered:
        options = (
            {"logits_processors": [REQUESTS]} if args.per_request else {"hf_overrides": {"language": args.language}}
        )
    return LLM(
        model=str(args.steered if steered else args.plain),
        dtype=args.dtype,
        max_model_len=512,
        enforce_eager=args.eager,
        enable_prefix_caching=False,  # every round computes the same prompts
        kv_cache_memory_bytes=2**28,
        distributed_executor_backend="uni",
        **(options if steered else {}),
    )


def _task(engine: Any, args: argparse.Namespace, prompt: int, answer: int) -> Callable[[], object]:
    from vllm import SamplingParams

    draw = random.Random(0)
    prompts = [{"prompt_token_ids": [draw.randrange(1000, 30000) for _ in range(prompt)]} for _ in range(args.requests)]
    # A plain engine ignores the language.
    extra = {"language": args.language} if args.per_request else None
    params = SamplingParams(temperature=0, max_tokens=answer, ignore_eos=True, extra_args=extra)
    return lambda: engine.generate(prompts, params, use_tqdm=False)


if __name__ == "__main__":
    main()
