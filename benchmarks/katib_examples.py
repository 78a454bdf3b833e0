"""Run every published Katib example to its end by the command, one after the other: file, exit code, seconds, trials.

    python benchmarks/katib_examples.py [FOLDER]

FOLDER holds Katib's examples (default: ../shared/katib-examples). A file that is refused prints why. Nothing is kept.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "examples/katib/images.yaml"


def main() -> int:
    """Run them; 1 when one that is not refused did not succeed."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "../shared/katib-examples"
    files = [file for file in sorted(folder.glob("*/*.yaml")) if file.parent.name != "support"]
    if not files:
        print(f"{folder} holds no manifests")
        return 2
    bad, began = 0, time.perf_counter()
    for file in files:
        name = str(file.relative_to(folder))
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as data:
            command = [
                sys.executable,
                "-m",
                "kuttab",
                "run",
                str(file),
                "--images",
                str(IMAGES),
                "--data",
                data,
                "--json",
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - start
        if done.returncode == 2:
            print(
                f"{name:<64}refused  {seconds:6.1f} s  {done.stderr.strip().splitlines()[-1].partition(': ')[2][:120]}",
                flush=True,
            )
            continue
        status = json.loads(done.stdout)["experiment"]["status"] if done.stdout.strip() else {}
        bad += done.returncode != 0
        verdict = "runs" if done.returncode == 0 else "FAILED"
        best = (status.get("currentOptimalTrial") or {}).get("observation", {}).get("metrics", [{}])[0]
        value = str(best.get("latest", ""))[:40]
        print(
            f"{name:<64}{verdict:<8}{seconds:6.1f} s  {status.get('trials', 0)} trials, {best.get('name', '')} {value}",
            flush=True,
        )
    print(f"{len(files)} files in {time.perf_counter() - began:.0f} s, {bad} failed")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
