"""The protocols of `tasks/` but perplexity for lm-evaluation-harness (`lm_eval`), as its YAML files.

    lm_eval --model hf --model_args pretrained=DIR,trust_remote_code=True,language=de --apply_chat_template \\
        --include_path "$(python -c 'import clas_eval.lm_eval_tasks as t; print(t.PATH)')" --tasks clas_xnli_de

Tasks are `clas_TASK_LANG`, groups `clas_TASK`.  The YAML files, which `generate.py` writes, name what the harness runs:
`protocol_task.py` gives it examples and prompts, `scores.py` scores its answers.  Importing this package
imports neither the harness nor torch.
"""

from pathlib import Path

PATH = Path(__file__).parent
"""The folder to give as --include_path."""
