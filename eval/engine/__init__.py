"""Runs a causal language model on token ids, fast and exactly; knows neither tasks nor files.

`choices.py`, `generation.py`, `perplexity.py` and `lens.py` are what others call, with `batches.py` for the order in
which examples are computed.  `packing.py`, `decoder.py`, `conditions.py` and `token_probabilities.py` serve
them.
"""
