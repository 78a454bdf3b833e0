"""A search algorithm without kuttab's package: grpcio, grpcio-tools and the contract. `service.py 2020` speaks the older form.

It keeps nothing between calls: everything it knows comes with each request, so it may be killed at any time.
"""

import concurrent.futures
import os
import random
import signal
import sys

import grpc

OLD = sys.argv[1:] == ["2020"]
PROTOS, SERVICES = grpc.protos_and_services("suggestion_2020.proto" if OLD else "suggestion.proto")
DOUBLE, INT, SUCCEEDED, MAXIMIZE = 1, 2, 2, 2


def loss(request, trial):
    name, sign = request.experiment.spec.objective.objective_metric_name, 1
    if request.experiment.spec.objective.type == MAXIMIZE:
        sign = -1
    return next((sign * float(m.value) for m in trial.status.observation.metrics if m.name == name), float("inf"))


def draw(parameter, near, source):
    space, kind = parameter.feasible_space, parameter.parameter_type
    if kind not in (DOUBLE, INT):
        return near if near and source.random() < 0.7 else source.choice(list(space.list))
    low, high = float(space.min), float(space.max)
    value = source.uniform(low, high)
    if near:
        value = min(high, max(low, float(near) + source.gauss(0, (high - low) / 8)))
    return str(round(value)) if kind == INT else repr(value)


class Suggestion:
    def GetSuggestions(self, request, context):  # noqa: ARG002, N802 - the contract's names
        done = [trial for trial in request.trials if trial.status.condition == SUCCEEDED]
        best = min(done, key=lambda trial: loss(request, trial), default=None)
        near = {a.name: a.value for a in best.spec.parameter_assignments.assignments} if best else {}
        source, reply = random.Random(len(request.trials)), PROTOS.GetSuggestionsReply()
        for _ in range(request.request_number if OLD else request.current_request_number):
            made = reply.parameter_assignments.add()
            for parameter in request.experiment.spec.parameter_specs.parameters:
                made.assignments.add(name=parameter.name, value=draw(parameter, near.get(parameter.name), source))
        return reply


def main():
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
    SERVICES.add_SuggestionServicer_to_server(Suggestion(), server)
    # Katib probes the health service before it asks; "\x08\x01" is the message that says SERVING.
    healthy = grpc.unary_unary_rpc_method_handler(lambda *_: b"\x08\x01")
    health = grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": healthy})
    server.add_generic_rpc_handlers((health,))
    server.add_insecure_port(f"127.0.0.1:{os.environ.get('KATIB_SUGGESTION_PORT', '6789')}")
    server.start()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    server.stop(2).wait()


if __name__ == "__main__":
    main()
