"""Steered checkpoints in vLLM: an out-of-tree model, found through the entry point `vllm.general_plugins`.

Nothing here is imported but by vLLM, in each of its processes; `modeling/` knows nothing of it.  `models.py` holds the
two families, `layers.py` the steered MLP, `languages.py` the languages of the tokens, and `requests.py` a language for
each request.

Written for vLLM 0.32; only what it documents for plug-ins and out-of-tree models is used, and nothing is patched.
"""

from __future__ import annotations


def register() -> None:
    """Teach vLLM the steered architectures; doing it again changes nothing."""
    # Importing the package registers the configurations, which vLLM reads through AutoConfig.
    from vllm import ModelRegistry

    import clas_models  # noqa: F401

    # By name: a process that runs no model, such as the API server, must not import what models need.
    for architecture in ("ClasLlamaForCausalLM", "ClasQwen2ForCausalLM"):
        ModelRegistry.register_model(architecture, f"{__name__}.models:{architecture}")
