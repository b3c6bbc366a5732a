"""What plexbridge costs and how long it makes people wait, measured: `python -m benchmarks`. See docs/benchmarks.md."""
