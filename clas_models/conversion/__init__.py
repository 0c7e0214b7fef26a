"""What a profiled model becomes: a steered checkpoint on disk, checked, and the command line that makes it.

`modeling/` runs such a checkpoint; `profiling/` makes the masks that go into it.
"""
