"""Runs a causal language model on token ids, fast and exactly; knows neither tasks nor files.

`choices.py`, `continuations.py`, `generation.py`, `perplexity.py` and `lens.py` are what others call, with `batches.py`
for the order in which examples are computed.  `packing.py`, `decoder.py`, `conditions.py`, `sweep.py` and
`token_nats.py` serve them.
"""
