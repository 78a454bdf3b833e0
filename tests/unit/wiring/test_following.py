"""Progress as steps: few while there is much to tell, and none held back at the end."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from kuttab.api import experiment, kinds
from kuttab.testing import builders
from kuttab.wiring import following, machine, settings


@pytest.mark.slow
async def test_the_end_is_not_held_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the pause between two steps, the last one comes with the end."""
    monkeypatch.setattr(following, "PAUSE", 600.0)
    command = [sys.executable, "-S", "-c", "print('loss=${trialParameters.lr}')"]
    template: dict[str, Any] = {
        "primaryContainerName": "training-container",
        "trialParameters": [{"name": "lr", "reference": "lr"}],
        "trialSpec": builders.job_document(command),
    }
    wish = builders.experiment(maxTrialCount=3, parallelTrialCount=1, trialTemplate=template)
    async with asyncio.timeout(60), machine.running(settings.Settings(tmp_path)) as world:
        subject = await world.objects.create(wish)
        assert isinstance(subject, experiment.Experiment)
        steps = [step async for step in following.follow(world, subject)]
        assert steps[-1].finished == 3
        assert len(steps) <= 4
        assert (await world.objects.get(kinds.EXPERIMENT, subject.namespace, subject.name)).name == subject.name
