"""The control machine: queue, sources, workers. Knows no kind."""
