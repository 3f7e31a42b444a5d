"""Benchmarks against peers; `make bench` runs them, prints one table and writes JSON and a picture."""
