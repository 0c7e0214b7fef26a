"""Runs engines for tests; started with the Python of an environment that has vLLM: vllm_worker.py ANSWERS_FD

Reads a job from each line of its standard input and writes an answer, a line of JSON, to the file descriptor.

A job: `engine`, the keywords of `vllm.LLM`, and `batches`, lists of requests `{"prompt": token ids, "tokens": how many,
"language": what the request asks for, if anything}`.  An answer: `tokens`, for each batch the token ids of each
request, greedy, or why it was refused, and `preemptions`, how many requests were interrupted; or `error`, why there is
no engine.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from typing import Any


def main(answers: int) -> None:
    for line in sys.stdin:
        try:
            answer = run(**json.loads(line))
        except Exception as error:
            answer = {"error": str(error)}
        os.write(answers, (json.dumps(answer) + "\n").encode())
        gc.collect()


def run(engine: dict[str, Any], batches: list[list[dict[str, Any]]]) -> dict[str, Any]:
    from vllm import LLM

    llm = LLM(**engine)
    tokens = [generate(llm, batch) for batch in batches]
    counters = {metric.name: metric.value for metric in llm.get_metrics() if metric.name == "vllm:num_preemptions"}
    return {"tokens": tokens, "preemptions": counters["vllm:num_preemptions"]}


def generate(llm: Any, batch: list[dict[str, Any]]) -> list[list[int]] | str:
    from vllm.exceptions import VLLMValidationError

    prompts = [{"prompt_token_ids": request["prompt"]} for request in batch]
    try:
        outputs = llm.generate(prompts, [params(request) for request in batch], use_tqdm=False)
    except (ValueError, VLLMValidationError) as refusal:
        return str(refusal)
    return [list(output.outputs[0].token_ids) for output in outputs]


def params(request: dict[str, Any]) -> Any:
    from vllm import SamplingParams

    extra = {"language": request["language"]} if "language" in request else None
    return SamplingParams(temperature=0, max_tokens=request["tokens"], ignore_eos=True, extra_args=extra)


if __name__ == "__main__":  # vLLM may start processes that import this file
    main(int(sys.argv[1]))
