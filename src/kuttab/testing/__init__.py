"""Shipped contract suites and builders, for our tests and for plug-in authors."""
