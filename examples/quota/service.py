"""A quota service: so many cores for everybody, no workload above its share. Standard library only.

python examples/quota/service.py [PORT] [CORES]
"""

import http.server
import json
import sys

PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 8765
CORES = float(sys.argv[2]) if len(sys.argv) > 2 else 4
SHARE = CORES / 2
held = {}


def answer(question):
    """The whole protocol: check is asked until it says admit or reject, release may come more than once."""
    uid = question["trial"]["uid"]
    if question["verb"] == "release":
        held.pop(uid, None)
        return {}
    cores = question["resources"]["cpus"]
    if cores > SHARE:
        return {"verdict": "reject", "reason": f"{cores:g} cores are more than a trial may have, {SHARE:g}"}
    others = sum(amount for other, amount in held.items() if other != uid)
    if others + cores > CORES:
        return {"verdict": "wait", "reason": f"{CORES - others:g} of {CORES:g} cores are free", "retryAfterSeconds": 2}
    held[uid] = cores
    return {"verdict": "admit"}


class Handler(http.server.BaseHTTPRequestHandler):
    """One JSON document each way."""

    def do_POST(self):
        """Answer a question."""
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps(answer(question)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


with http.server.HTTPServer(("127.0.0.1", PORT), Handler) as server:
    print(f"http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()
