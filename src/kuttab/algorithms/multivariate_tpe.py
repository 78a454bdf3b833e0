"""Multivariate TPE: the Parzen estimators of :mod:`kuttab.algorithms.tpe` over all parameters at once."""

from __future__ import annotations

import dataclasses

from kuttab.algorithms import settings, tpe


@dataclasses.dataclass(frozen=True, kw_only=True)
class MultivariateTpeSettings(tpe.TpeSettings):
    """Settings of ``multivariate-tpe``."""

    prior_weight: float = settings.real(0.5, "Weight of the uniform prior, in trials.", above=0)


class MultivariateTpe(tpe.Tpe):
    """Sees how parameters interact."""

    name = "multivariate-tpe"
    summary = "Parzen estimators over all parameters at once."
    Settings = MultivariateTpeSettings
    joint = True
