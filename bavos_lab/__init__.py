"""Bavos for researchers: training, evaluation and benchmarks on top of `bavos_core`."""
