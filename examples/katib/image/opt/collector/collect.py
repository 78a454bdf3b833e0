"""Stands for the image of a Custom collector: waits for the training's log to be complete and reports what it holds.

It finds the db-manager and the trial's name by the environment that every collector gets.
"""

import argparse
import asyncio
import os
import re
import time

from kuttab.ports.observations import Row
from kuttab.rpc.dbmanager import DbManagerClient

parser = argparse.ArgumentParser()
parser.add_argument("-m", dest="metric", required=True)
parser.add_argument("-s", dest="address")
parser.add_argument("-path", required=True)
args = parser.parse_args()
pattern = re.compile(r"\{metricName: ([\w-]+), metricValue: ([-+.\deE]+)\}")


def read():
    """The metric's values so far, each with the time of its line."""
    if not os.path.exists(args.path):
        return []
    with open(args.path) as file:
        lines = [(line.split(" ")[0], pattern.findall(line)) for line in file]
    return [Row(name, value, when) for when, found in lines for name, value in found if name == args.metric]


async def report(rows):
    """Send rows for this trial."""
    client = DbManagerClient(os.environ["KATIB_DB_MANAGER_ADDRESS"])
    await client.report(os.environ["KATIB_TRIAL_NAME"], rows)
    await client.close()


while not read():  # the training logs one epoch here: one value is all there is
    time.sleep(0.05)
asyncio.run(report(read()))
