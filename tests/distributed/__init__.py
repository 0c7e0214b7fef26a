"""Several processes: tensor parallelism, and conversions that profile together."""
