"""The contract of search algorithms, on this one."""

import climb

from kuttab.testing.algorithms import AlgorithmContract


class TestClimb(AlgorithmContract):
    algorithm = climb.Climb
    settings = {"reach": "0.2"}  # noqa: RUF012 - read only
