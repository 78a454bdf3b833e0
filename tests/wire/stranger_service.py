"""A suggestion service as a stranger writes one, misbehaving as it is told: ``stranger_service.py STUBS MODE``.

``STUBS`` is a folder with modules that protoc made of the contract's facts; calls are counted in ``STUBS/calls``, so that a service that
was started again knows how often it was asked. Not a test.
"""

import concurrent.futures
import os
import pathlib
import random
import signal
import sys
import threading
import time

import grpc

FOLDER, MODE = pathlib.Path(sys.argv[1]), sys.argv[2]
sys.path.insert(0, str(FOLDER))

import stranger_api_pb2 as pb  # noqa: E402
import stranger_api_pb2_grpc as stubs  # noqa: E402

CODES = [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]


def count(name):
    """How many calls of that name there have been, this one included."""
    with (FOLDER / name).open("ab") as file:
        file.write(b".")
        return file.tell()


def points(request, source):
    """Good points for what was asked."""
    reply = pb.GetSuggestionsReply()
    for _ in range(request.current_request_number):
        reply.parameter_assignments.add().assignments.add(name="x", value=repr(source.random()))
    return reply


def change(reply, kind):
    """One of the ways to answer wrongly."""
    first = reply.parameter_assignments[0]
    if kind == "more":
        reply.parameter_assignments.add().CopyFrom(first)
    elif kind == "same parameter twice":
        first.assignments.add(name="x", value="0.5")
    elif kind == "missing":
        del first.assignments[:]
    elif kind == "other name":
        first.assignments[0].name = "y"
    elif kind in ("taken name", "reserved label", "long label", "slash", "settings"):
        {
            "taken name": lambda: setattr(first, "trial_name", (FOLDER / "taken").read_text()),
            "reserved label": lambda: first.labels.update({"katib.kubeflow.org/experiment": "another"}),
            "long label": lambda: first.labels.update({"a": "b" * 64}),
            "slash": lambda: setattr(first, "trial_name", "../../etc/passwd"),
            "settings": lambda: reply.algorithm.algorithm_settings.add(name="", value="x"),
        }[kind]()
    else:
        first.assignments[0].value = {"outside": "7", "nan": "nan", "text": "much", "large": "1" * 10_000_000}[kind]


WRONG = (
    "more", "same parameter twice", "missing", "other name", "taken name", "reserved label", "long label", "slash",
    "settings", "outside", "nan", "text", "large",
)  # fmt: skip


class Service(stubs.SuggestionServicer):
    """Answers as the mode says."""

    def ValidateAlgorithmSettings(self, request, context):
        """Good settings, unless told otherwise."""
        number = count("validations")
        if MODE.startswith("refuse "):
            context.abort(getattr(grpc.StatusCode, MODE.split()[1]), "not with me")
        if MODE == "validation codes" and number <= 3:
            context.abort(
                (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.INTERNAL)[number - 1],
                "later",
            )
        return pb.ValidateAlgorithmSettingsReply()

    def GetSuggestions(self, request, context):
        """Points, or what the mode says."""
        number = count("calls")
        reply = points(request, random.Random(number))
        if MODE == "dies after each answer":
            threading.Timer(0.02, os._exit, (1,)).start()
        elif MODE == "codes" and number % 2:
            context.abort(CODES[number // 2 % len(CODES)], "as told")
        elif MODE == "wrong" and number % 2 == 0:
            change(reply, WRONG[number // 2 % len(WRONG)])
        elif MODE == "hangs once" and number == 2:
            time.sleep(3600)
        elif MODE == "stops once" and number == 2:
            os.kill(os.getpid(), signal.SIGSTOP)
        elif MODE == "always hangs":
            time.sleep(3600)
        if request.trials and not (FOLDER / "taken").exists():
            (FOLDER / "taken").write_text(request.trials[0].name)
        return reply


def main():
    """Serve until told to end."""
    if MODE == "starts slowly":
        time.sleep(1.5)
    if MODE == "dies at once" or (MODE == "dies twice at its start" and count("starts") <= 2):
        sys.stdout.write("no model file\n")
        sys.stdout.flush()
        os._exit(3)
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4), options=(("grpc.max_send_message_length", -1),))
    stubs.add_SuggestionServicer_to_server(Service(), server)
    server.add_insecure_port(f"127.0.0.1:{os.environ['KATIB_SUGGESTION_PORT']}")
    server.start()
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
