"""The papers' runs, a command each: scripts of the shell, and what makes the data that they need.

Run from a clone, never installed: `recipes/README.md` says how, and what each needs.
"""
