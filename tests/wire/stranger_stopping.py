"""An early-stopping service as a stranger writes one: ``stranger_stopping.py STUBS``. Its bar is the worst loss that others reported.

It reads what they reported from the db-manager that the request names. Not a test.
"""

import concurrent.futures
import os
import pathlib
import signal
import sys

import grpc

FOLDER = pathlib.Path(sys.argv[1])
sys.path.insert(0, str(FOLDER))

import stranger_api_pb2 as pb  # noqa: E402
import stranger_api_pb2_grpc as stubs  # noqa: E402


class Service(stubs.EarlyStoppingServicer):
    """One rule, once there are results."""

    def ValidateEarlyStoppingSettings(self, request, context):
        """The setting ``word`` must be ``please``."""
        if [setting.value for setting in request.early_stopping.algorithm_settings] != ["please"]:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "say please")
        return pb.ValidateEarlyStoppingSettingsReply()

    def GetEarlyStoppingRules(self, request, context):
        """A bar from the logs of the trials that succeeded."""
        reply, found = pb.GetEarlyStoppingRulesReply(), []
        with grpc.insecure_channel(request.db_manager_address) as channel:
            for trial in request.trials:
                if trial.status.condition == pb.TrialStatus.SUCCEEDED:
                    asked = pb.GetObservationLogRequest(trial_name=trial.name, metric_name="loss")
                    log = stubs.DBManagerStub(channel).GetObservationLog(asked)
                    found += [float(row.metric.value) for row in log.observation_log.metric_logs]
        if found:
            bar = reply.early_stopping_rules.add(name="loss", value=repr(max(found)), start_step=2)
            bar.comparison = pb.GREATER
        return reply


def main():
    """Serve until told to end."""
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
    stubs.add_EarlyStoppingServicer_to_server(Service(), server)
    server.add_insecure_port(f"127.0.0.1:{os.environ['KATIB_EARLY_STOPPING_PORT']}")
    server.start()
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
