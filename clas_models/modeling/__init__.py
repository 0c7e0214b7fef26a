"""What a steered checkpoint needs to run: configurations, the steering rule and the patched families.

Imports torch, transformers and its own files, nothing else, so that a checkpoint can carry it.
"""
