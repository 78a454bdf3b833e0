"""Strangers' requests: schemathesis tries every operation of our OpenAPI documents against ``kuttab serve``.

Run ``make fuzz-api`` with ``schemathesis`` on the PATH (``pipx install schemathesis``; it is no dependency of ours). Left out are streams,
which do not end by themselves, and the check that whatever fits the schema is accepted: admission knows more rules than a schema.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from api_server import serving

LEFT_OUT = ("watch", "sendInitialEvents", "follow")


def get(said: dict[str, Any], path: str) -> Any:
    request = urllib.request.Request(said["url"] + path, headers={"Authorization": f"Bearer {said['token']}"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--examples", type=int, default=20, help="requests tried for each operation")
    options.add_argument("--only", default="", help="a regular expression that paths must match")
    chosen = options.parse_args()
    program = shutil.which("schemathesis")
    if program is None:
        print("schemathesis is not on the PATH: pipx install schemathesis")
        return 2
    failed = 0
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder) / "data") as said:
        for entry in get(said, "/openapi/v3")["paths"].values():
            document = get(said, entry["serverRelativeURL"])
            for path in document["paths"].values():
                for operation in (item for name, item in path.items() if name != "parameters"):
                    operation["parameters"] = [p for p in operation["parameters"] if p["name"] not in LEFT_OUT]
            file = Path(folder) / "openapi.json"
            file.write_text(json.dumps(document))
            command = [
                program, "run", str(file), "--url", said["url"], "-H", f"Authorization: Bearer {said['token']}",
                "--phases", "fuzzing", "--max-examples", str(chosen.examples), "--exclude-checks", "positive_data_acceptance",
            ]  # fmt: skip
            if chosen.only:
                command += ["--include-path-regex", chosen.only]
            failed |= subprocess.run(command, check=False).returncode
    return failed


if __name__ == "__main__":
    sys.exit(main())
