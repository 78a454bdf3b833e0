"""Experiment, suggestion and trial controllers: gather, decide, act."""
