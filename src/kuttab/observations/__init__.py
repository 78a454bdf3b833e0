"""Metric rows in a SQL database or in memory."""
