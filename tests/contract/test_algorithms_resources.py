"""The contract suite on the algorithms that repeat points: rungs, populations, architecture search."""

from __future__ import annotations

from typing import ClassVar

from kuttab.algorithms import asha, bohb, darts, enas, hyperband, pbt
from kuttab.api import space
from kuttab.testing.algorithms import MIXED, AlgorithmContract, parameter

EPOCHS = parameter("epochs", "int", min="1", max="27")
NAS = space.NasConfig.model_validate(
    {
        "graphConfig": {"numLayers": 3, "inputSizes": [8, 8], "outputSizes": [2]},
        "operations": [
            {
                "operationType": "dense",
                "parameters": [{"name": "n", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "5"}}],
            }
        ],
    }
)


class TestHyperband(AlgorithmContract):
    """Brackets."""

    algorithm = hyperband.Hyperband
    settings: ClassVar = {"resource_name": "epochs", "r_l": "9", "eta": "3"}
    specs: ClassVar = [*MIXED, EPOCHS]
    small = ()
    parallel = 9


class TestAsha(AlgorithmContract):
    """Rungs without waiting."""

    algorithm = asha.Asha
    settings: ClassVar = {"resource_name": "epochs", "eta": "3", "brackets": "2"}
    specs: ClassVar = [EPOCHS, *MIXED]


class TestBohb(AlgorithmContract):
    """Rungs with a model."""

    algorithm = bohb.Bohb
    settings: ClassVar = {"resource_name": "epochs"}
    specs: ClassVar = [*MIXED[:2], EPOCHS, *MIXED[2:]]


class TestPbt(AlgorithmContract):
    """Populations."""

    algorithm = pbt.Pbt
    settings: ClassVar = {"suggestion_trial_dir": "/checkpoints", "n_population": "5", "truncation_threshold": "0.3"}


class TestPbtResampling(AlgorithmContract):
    """Populations that draw anew."""

    algorithm = pbt.Pbt
    settings: ClassVar = {
        "suggestion_trial_dir": "/checkpoints",
        "n_population": "5",
        "truncation_threshold": "1",
        "resample_probability": "0.3",
    }


class TestEnas(AlgorithmContract):
    """A controller that learns."""

    algorithm = enas.Enas
    settings: ClassVar = {
        "controller_hidden_size": "8",
        "controller_train_steps": "3",
        "controller_learning_rate": "0.01",
    }
    specs: ClassVar = ()
    small = ()
    nas = NAS
    trials = 24


class TestDarts(AlgorithmContract):
    """Settings handed on."""

    algorithm = darts.Darts
    specs: ClassVar = ()
    small = ()
    nas = NAS
