"""Steered checkpoints in vLLM: an out-of-tree model, found through the entry point `vllm.general_plugins`.

Nothing here is imported but by vLLM, in each of its processes; `modeling/` knows nothing of it.  `models.py` makes the
steered families, `layers.py` holds the steered MLP, `languages.py` the languages of the tokens and where vectors act,
and `requests.py` a language for each request.

Written for vLLM 0.32; only what it documents for plug-ins and out-of-tree models is used, and nothing is patched.
"""


def register() -> None:
    """Teach vLLM the steered architectures; doing it again changes nothing."""
    from vllm import ModelRegistry

    # Importing the package registers the configurations, which vLLM reads through AutoConfig.
    from ..modeling.families import FAMILIES

    # By name: a process that runs no model, such as the API server, must not import what models need.
    for family in FAMILIES.values():
        if family.vllm is not None:
            name = family.causal_lm.__name__
            ModelRegistry.register_model(name, f"{__name__}.models:{name}")
