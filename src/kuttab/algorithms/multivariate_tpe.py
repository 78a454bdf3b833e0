"""Multivariate TPE: the Parzen estimators of :mod:`kuttab.algorithms.tpe` over all parameters at once."""

from __future__ import annotations

from kuttab.algorithms import tpe


class MultivariateTpe(tpe.Tpe):
    """Sees how parameters interact."""

    name = "multivariate-tpe"
    summary = "Parzen estimators over all parameters at once."
    joint = True
