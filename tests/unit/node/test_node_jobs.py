# ruff: noqa: ASYNC240
"""batch/v1 Jobs as real processes over a real store."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest

from kuttab.api import conditions, kinds, meta
from kuttab.node import identity, job_rules, owners, pod_status
from kuttab.ports.observations import Row
from kuttab.rules import trial_state


def state(pod, container="main"):
    """The terminated or running state of a container."""
    [entry] = [c for c in pod.section("status")["containerStatuses"] if c["name"] == container]
    return entry["state"]


async def test_job_runs_to_complete(machine):
    """A Job that succeeds is Complete, with times and counts, and its Pod tells exit code, log and owner."""
    job = await machine.job("print('loss=1'); print('to stderr', file=__import__('sys').stderr)")
    assert (await machine.done())[:2] == ("Complete", "CompletionsReached")
    status = (await machine.get(kinds.JOB, "t")).section("status")
    assert status["succeeded"] == 1
    assert "active" not in status
    assert status["startTime"] <= status["completionTime"]
    [pod] = await machine.pods()
    assert pod.section("status")["phase"] == "Succeeded"
    assert state(pod)["terminated"]["exitCode"] == 0
    assert state(pod)["terminated"]["reason"] == "Completed"
    assert pod.metadata.controller.uid == job.uid
    assert not pod.metadata.finalizers
    assert machine.logs() == ["loss=1\nto stderr\n"]
    assert machine.kubelet.runs == {}


async def test_running_job_shows_its_process(machine):
    """While it runs, the Job counts one active pod and the Pod names its process by identity."""
    await machine.job("import time; print('up', flush=True); time.sleep(60)")
    pod = await machine.running()
    status = await machine.until(lambda: active(machine))
    assert status["active"] == 1
    assert "completionTime" not in status
    who = identity.Identity.parse(pod_status.tokens(pod)[0])
    assert identity.alive(who, pod.uid)


async def active(machine, name="t"):
    """The job's status once it is active."""
    status = (await machine.get(kinds.JOB, name)).section("status")
    return status if status.get("active") else None


async def test_failing_job_is_tried_again_up_to_its_limit(machine):
    """backoffLimit 2 means three attempts, each a Pod of its own, and the message tells how the last one ended."""
    await machine.job("import sys; print('no'); sys.exit(3)", backoffLimit=2)
    kind, reason, message = await machine.done()
    assert (kind, reason) == ("Failed", "BackoffLimitExceeded")
    assert "exited with code 3" in message
    found = await machine.pods()
    assert [pod.section("status")["phase"] for pod in found] == ["Failed"] * 3
    assert [state(pod)["terminated"]["exitCode"] for pod in found] == [3, 3, 3]
    assert (await machine.get(kinds.JOB, "t")).section("status")["failed"] == 3
    assert machine.logs() == ["no\n"] * 3


async def test_job_that_succeeds_on_a_later_attempt_is_complete(machine):
    """With OnFailure the volumes stay, so a program can go on where it was."""
    script = "test -e /state/tried && exit 0; touch /state/tried; exit 1"
    await machine.job(
        script,
        python=False,
        container={"volumeMounts": [{"name": "state", "mountPath": "/state"}]},
        pod={"volumes": [{"name": "state", "emptyDir": {}}], "restartPolicy": "OnFailure"},
    )
    assert (await machine.done())[0] == "Complete"
    assert len(await machine.pods()) == 2
    assert [c["restartCount"] for pod in await machine.pods() for c in pod.section("status")["containerStatuses"]] == [
        0,
        1,
    ]


async def test_never_gives_each_attempt_fresh_volumes(machine):
    """With Never an emptyDir is empty at each attempt."""
    await machine.job(
        "ls /state; touch /state/tried; exit 1",
        python=False,
        backoffLimit=1,
        container={"volumeMounts": [{"name": "state", "mountPath": "/state"}]},
        pod={"volumes": [{"name": "state", "emptyDir": {}}]},
    )
    assert (await machine.done())[0] == "Failed"
    assert machine.logs() == ["", ""]


async def test_d03_signal_is_told_with_its_number(machine):
    """A process killed from outside is exit code 137 and signal 9 in the Pod, and another Job goes on untouched."""
    await machine.job("import time; time.sleep(60)", name="other")
    await machine.running("other")
    await machine.job("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", backoffLimit=0)
    kind, reason, message = await machine.done()
    assert (kind, reason) == ("Failed", "BackoffLimitExceeded")
    assert "signal 9" in message
    [pod] = await machine.pods()
    assert state(pod)["terminated"]["exitCode"] == 137
    assert state(pod)["terminated"]["signal"] == 9
    assert await machine.running("other")


@pytest.mark.parametrize(
    ("container", "words"),
    [
        ({"command": ["no-such-program-at-all"]}, "no-such-program-at-all"),
        ({"command": ["/opt/none/x"]}, "/opt/none/x"),
        ({"command": None}, "has no command"),
        ({"workingDir": "/no/such/dir"}, "workingDir"),
        ({"command": ["sh", "-c", "a\0b"]}, "NUL"),
    ],
)
async def test_container_that_cannot_run_fails_at_once_with_what_to_do(machine, container, words):
    """No retries for what a retry cannot mend; the reason is ContainerCannotRun and the message names the cause."""
    await machine.job("pass", container=container)
    kind, reason, message = await machine.done()
    assert (kind, reason) == ("Failed", "ContainerCannotRun")
    assert words in message
    [pod] = await machine.pods()
    assert state(pod)["terminated"] == {
        "exitCode": 128, "reason": "ContainerCannotRun", "message": message, "startedAt": "", "finishedAt": "",
    }  # fmt: skip


async def test_deadline_ends_the_process_group(machine):
    """activeDeadlineSeconds fails the Job with DeadlineExceeded and leaves no process."""
    await machine.job("sleep 60 & echo up; sleep 60", python=False, activeDeadlineSeconds=1)
    assert (await machine.done())[:2] == ("Failed", "DeadlineExceeded")
    assert identity.marked(machine.kubelet.processes.node) == {}
    [pod] = await machine.pods()
    assert pod.section("status")["reason"] == "DeadlineExceeded"


@pytest.mark.parametrize("propagation", ["Background", "Foreground"])
async def test_s28_deleted_job_takes_its_processes_along(machine, propagation):
    """A deleted Job's Pod stays until its process group is gone, also one that ignores SIGTERM; then all objects go."""
    await machine.job("trap '' TERM; sleep 60 & echo up; while :; do sleep 1; done", python=False)
    await machine.printed("up")
    pod = (await machine.pods())[0]
    await machine.objects.delete(kinds.JOB, "default", "t", propagation=propagation)
    node = machine.kubelet.processes.node

    async def released():
        if await machine.get(kinds.POD, pod.name) is None:
            assert identity.marked(node) == {}
            return True
        return False

    await machine.until(released)
    await machine.until(lambda: gone(machine, "t"))


async def gone(machine, name):
    """Whether the Job is gone."""
    return await machine.get(kinds.JOB, name) is None


async def test_e07_deleted_pod_is_replaced(machine):
    """A Pod deleted by somebody while it runs counts as a failure; its process ends and another attempt starts."""
    await machine.job("import time; print('up', flush=True); time.sleep(60)")
    first = await machine.running()
    await machine.objects.delete(kinds.POD, "default", first.name)

    async def second():
        found = await machine.pods()
        return found and found[-1].uid != first.uid and found[-1].section("status").get("phase") == "Running"

    await machine.until(second)
    await machine.printed("up")
    assert set(identity.marked(machine.kubelet.processes.node).values()) == {(await machine.pods())[-1].uid}
    assert (await machine.get(kinds.JOB, "t")).section("status")["failed"] == 1


async def test_suspended_job_runs_nothing_and_goes_on(machine):
    """suspend ends the pods without counting a failure, shows the condition, and starts afresh when lifted."""
    await machine.job("import time; print('up', flush=True); time.sleep(60)")
    await machine.running()

    async def suspend(value):
        job = await machine.get(kinds.JOB, "t")
        await machine.objects.update(meta.evolve(job, spec={**job.section("spec"), "suspend": value}))

    async def condition(value):
        status = (await machine.get(kinds.JOB, "t")).section("status")
        return [
            c for c in status.get("conditions") or () if c["type"] == "Suspended" and c["status"] == value
        ] and status

    await suspend(True)
    status = await machine.until(lambda: condition("True"))
    assert "active" not in status
    assert "failed" not in status
    assert identity.marked(machine.kubelet.processes.node) == {}
    await suspend(False)
    await machine.until(lambda: condition("False"))
    await machine.running()


async def test_indexed_completions_share_the_work(machine):
    """Each index runs once, at most parallelism at a time, knowing its index."""
    await machine.job(
        "echo $JOB_COMPLETION_INDEX; sleep 0.1", python=False, completions=5, parallelism=2, completionMode="Indexed"
    )
    most = 0
    while (await machine.get(kinds.JOB, "t")).section("status").get("succeeded", 0) < 5:
        most = max(most, len(machine.kubelet.runs))
        await asyncio.sleep(0.01)
    assert (await machine.done())[0] == "Complete"
    assert sorted("".join(machine.logs()).split()) == ["0", "1", "2", "3", "4"]
    assert most == 2
    assert (await machine.get(kinds.JOB, "t")).section("status")["completedIndexes"] == "0-4"


async def test_containers_and_init_containers(machine):
    """Init containers run one after the other before the containers, which run together; a Job is done when all are."""

    def entry(name, script):
        return {
            "name": name,
            "command": ["sh", "-c", script],
            "volumeMounts": [{"name": "v", "mountPath": "/v"}],
        }

    await machine.job(
        pod={
            "volumes": [{"name": "v", "emptyDir": {}}],
            "initContainers": [entry("one", "echo 1 >>/v/order"), entry("two", "echo 2 >>/v/order")],
            "containers": [
                entry("main", "cat /v/order; until test -e /v/go; do sleep 0.02; done"),
                entry("side", "touch /v/go"),
            ],
        }
    )
    assert (await machine.done())[0] == "Complete"
    [pod] = await machine.pods()
    assert [c["state"]["terminated"]["exitCode"] for c in pod.section("status")["initContainerStatuses"]] == [0, 0]
    assert "1\n2\n" in machine.logs()


async def test_failing_init_container_fails_the_pod(machine):
    """When an init container fails, the containers are not started."""
    init = {"name": "init", "command": ["sh", "-c", "exit 4"]}
    await machine.job("print('never')", pod={"initContainers": [init]}, backoffLimit=0)
    kind, _, message = await machine.done()
    assert kind == "Failed"
    assert "'init' exited with code 4" in message
    assert "never" not in "".join(machine.logs())


async def test_config_map_is_waited_for(machine):
    """A missing ConfigMap is no failure: the Pod stays Pending with a warning, and runs once it exists."""
    env = [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "k"}}}]
    await machine.job("import os; print(os.environ['A'])", container={"env": env})
    await machine.until(lambda: told(machine, "FailedStart"))
    assert (await machine.pods())[0].section("status").get("phase") is None
    made = kinds.load(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "cm", "namespace": "default"},
            "data": {"k": "v 1"},
        }
    )
    await machine.objects.create(made)
    assert (await machine.done())[0] == "Complete"
    assert machine.logs() == ["v 1\n"]


async def told(machine, reason):
    """Whether an event of that reason was recorded."""
    return any(seen[1] == reason for seen in machine.events.seen)


async def test_pod_failure_policy(machine):
    """FailJob ends the Job at the first matching exit code; Ignore costs no retry."""
    rules = [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]
    await machine.job("exit 42", python=False, podFailurePolicy={"rules": rules})
    assert (await machine.done())[:2] == ("Failed", "PodFailurePolicy")
    assert len(await machine.pods()) == 1
    rules = [{"action": "Ignore", "onExitCodes": {"operator": "NotIn", "values": [1]}}]
    script = "test $(cat /s/n 2>/dev/null | wc -c) -ge 3 && exit 0; printf x >>/s/n; exit 7"
    await machine.job(
        script, name="u", python=False, backoffLimit=0, podFailurePolicy={"rules": rules},
        container={"volumeMounts": [{"name": "s", "mountPath": "/s"}]},
        pod={"volumes": [{"name": "s", "emptyDir": {}}], "restartPolicy": "OnFailure"},
    )  # fmt: skip
    assert (await machine.done("u"))[0] == "Complete"
    assert len(await machine.pods("u")) == 4


async def test_finished_job_is_deleted_in_time_but_not_before_its_trial_knows(machine):
    """ttlSecondsAfterFinished 0 deletes the Job at once, unless its Trial has not ended yet."""
    await machine.job("pass", ttlSecondsAfterFinished=0)
    await machine.until(lambda: gone(machine, "t"))
    owner = await machine.trial("u")
    await machine.job("pass", name="u", owner=owner, ttlSecondsAfterFinished=0)
    await machine.done("u")
    owner = await machine.get(kinds.TRIAL, "u")
    await machine.objects.update_status(
        type(owner).load({**meta.dump(owner), "status": {"conditions": [{"type": "Succeeded", "status": "True"}]}})
    )
    await machine.until(lambda: gone(machine, "u"))


async def test_job_of_a_trial_is_labelled_and_measured(machine):
    """Pods carry the Trial's labels and env, and its metrics are complete before the Job is (S17)."""
    owner = await machine.trial(metadataLabels={"katib.kubeflow.org/experiment": "exp", "mine": "1"}, retainRun=True)
    await machine.job(
        "import os; print('loss=0.5'); print(os.environ['KATIB_TRIAL_NAME']); print('loss=0.25')", owner=owner
    )
    seen = []

    async def complete():
        job = await machine.get(kinds.JOB, "t")
        if job_rules.condition(job.section("status"), "Complete"):
            seen.append(await machine.observations.summarize(owners.trial_key(owner)))
            return True
        return False

    await machine.until(complete)
    assert seen[0].complete
    assert (seen[0].metrics["loss"].min, seen[0].metrics["loss"].latest) == ("0.25", "0.25")
    [pod] = await machine.pods()
    assert pod.metadata.label("katib.kubeflow.org/trial") == "t"
    assert pod.metadata.label("katib.kubeflow.org/experiment") == "exp"
    assert pod.metadata.label("mine") == "1"
    assert "\nt\n" in machine.logs()[0]


async def test_trial_without_its_primary_container_fails_clearly(machine):
    """A container name that is not in the pod is said, with the names that are."""
    owner = await machine.trial(primaryContainerName="training")
    await machine.job("print('loss=1')", owner=owner)
    kind, reason, message = await machine.done()
    assert (kind, reason) == ("Failed", "ContainerCannotRun")
    assert "'training'" in message
    assert "main" in message


async def test_rows_of_an_earlier_attempt_do_not_count(machine):
    """Only the rows of the attempt that lives enter the aggregate (S18)."""
    owner = await machine.trial()
    script = "test -e /s/x && { echo loss=3; exit 0; }; touch /s/x; echo loss=1; exit 1"
    await machine.job(
        script, owner=owner, python=False,
        container={"volumeMounts": [{"name": "s", "mountPath": "/s"}]},
        pod={"volumes": [{"name": "s", "emptyDir": {}}], "restartPolicy": "OnFailure"},
    )  # fmt: skip
    assert (await machine.done())[0] == "Complete"
    summary = await machine.observations.summarize(owners.trial_key(owner))
    assert (summary.metrics["loss"].min, summary.metrics["loss"].count) == ("3", 1)


async def test_file_collector_reads_what_the_program_writes_under_a_rewritten_path(machine):
    """``--log-path=/katib/mnist.log`` lands in the pod's own folder, where the collector reads it."""
    source = {"fileSystemPath": {"path": "/katib/mnist.log", "kind": "File"}}
    owner = await machine.trial(metricsCollector={"collector": {"kind": "File"}, "source": source})
    script = "import sys; open(sys.argv[1].partition('=')[2], 'w').write('loss=0.125\\n')"
    await machine.job(owner=owner, container={"command": ["python", "-S", "-c", script, "--log-path=/katib/mnist.log"]})
    assert (await machine.done())[0] == "Complete"
    summary = await machine.observations.summarize(owners.trial_key(owner))
    assert summary.metrics["loss"].latest == "0.125"
    assert not os.path.exists("/katib")


async def test_custom_collector_runs_beside_the_training(machine):
    """A Custom collector's container sees the training's files, and has time to finish after it; its end completes the log."""
    collector = {
        "name": "reader", "image": "x",
        "command": ["sh", "-c", "until test -s /katib/out.log; do sleep 0.02; done; sleep 0.3; cat /katib/out.log; echo read"],
    }  # fmt: skip
    source = {"fileSystemPath": {"path": "/katib/out.log", "kind": "File"}}
    owner = await machine.trial(
        metricsCollector={"collector": {"kind": "Custom", "customCollector": collector}, "source": source}
    )
    await machine.job("echo loss=1 >/katib/out.log", owner=owner, python=False)
    assert (await machine.done())[0] == "Complete"
    assert "loss=1\nread\n" in machine.logs()
    assert (await machine.observations.summarize(owners.trial_key(owner))).complete


async def test_custom_collector_that_never_ends_is_ended(machines):
    """A Custom collector that hangs neither fails the training nor holds it up for long."""
    machine = await machines(collector_seconds=0.1).open()
    try:
        collector = {"name": "reader", "command": ["sh", "-c", "while :; do sleep 1; done"]}
        owner = await machine.trial(metricsCollector={"collector": {"kind": "Custom", "customCollector": collector}})
        await machine.job("pass", owner=owner, backoffLimit=0)
        assert (await machine.done())[0] == "Complete"
        assert identity.marked(machine.kubelet.processes.node) == {}
    finally:
        await machine.close()


async def test_program_that_pushes_is_complete_when_it_has_ended(machine):
    """With Push the node reads nothing and puts the final marker; rows from elsewhere count."""
    owner = await machine.trial(metricsCollector={"collector": {"kind": "Push"}})
    key = owners.trial_key(owner)
    await machine.observations.report(key, "pushed", 0, [Row("loss", "0.5")])
    await machine.job("print('loss=9')", owner=owner)
    assert (await machine.done())[0] == "Complete"
    summary = await machine.observations.summarize(key)
    assert summary.complete
    assert summary.metrics["loss"].latest == "0.5"


RULE = [{"name": "loss", "value": "0.5", "comparison": "greater", "startStep": 2}]


async def test_early_stopping_ends_the_process_and_the_job_completes(machine):
    """When the rules are met the Job is annotated, the group ended, and the Job Complete with its rows kept."""
    owner = await machine.trial(earlyStoppingRules=RULE)
    script = "sleep 60 & echo loss=0.9; echo loss=0.8; echo loss=0.7; sleep 60"
    await machine.job(script, owner=owner, python=False)
    assert (await machine.done())[0] == "Complete"
    job = await machine.get(kinds.JOB, "t")
    assert job.metadata.annotation("kuttab.org/early-stopped") == "loss"
    [pod] = await machine.pods()
    assert pod.section("status")["phase"] == "Succeeded"
    assert pod.section("status")["reason"] == "EarlyStopped"
    assert identity.marked(machine.kubelet.processes.node) == {}
    summary = await machine.observations.summarize(owners.trial_key(owner))
    assert summary.complete
    assert summary.metrics["loss"].count == 3


async def test_d22_runaway_log_is_cut_and_named(machines):
    """A program that floods its log is ended without retries, reason LogTooLarge, and the log is cut with a marker."""
    machine = await machines(log_cap_bytes=200_000, sample_seconds=0.05).open()
    try:
        await machine.job("while True: print('x' * 1000)")
        kind, reason, message = await machine.done()
        assert (kind, reason) == ("Failed", "LogTooLarge")
        assert "200000 bytes" in message
        [text] = machine.logs()
        assert 200_000 < len(text) < 200_200
        assert text.rstrip().endswith("[kuttab: LogTooLarge: cut here at 200000 bytes; the program was ended]")
    finally:
        await machine.close()


async def test_memory_limit_is_enforced_over_the_group(machines):
    """A group that holds more than resources.limits.memory is killed: exit 137, reason OOMKilled."""
    machine = await machines(sample_seconds=0.05).open()
    try:
        script = 'python3 -S -c "x = bytearray(80_000_000); import time; time.sleep(60)" & wait'
        await machine.job(script, python=False, backoffLimit=0, container={"resources": {"limits": {"memory": "50Mi"}}})
        kind, reason, message = await machine.done()
        assert kind == "Failed"
        assert "limit of 52428800 bytes" in message
        failed = conditions.put(None, "Failed", "True", reason, message, "2026-11-26T08:00:00Z")
        assert trial_state.failure_class(failed) == "OutOfMemory"
        [pod] = await machine.pods()
        assert state(pod)["terminated"]["exitCode"] == 137
        assert state(pod)["terminated"]["reason"] == "OOMKilled"
        assert pod.section("status")["reason"] == "OOMKilled"
    finally:
        await machine.close()


async def test_memory_below_the_limit_is_left_alone(machines):
    """A program within its limit runs to its end."""
    machine = await machines(sample_seconds=0.02).open()
    try:
        await machine.job("import time; time.sleep(0.3)", container={"resources": {"limits": {"memory": "200Mi"}}})
        assert (await machine.done())[0] == "Complete"
    finally:
        await machine.close()


async def test_d11_unwritable_trial_folder_is_retried_not_failed(machine):
    """When the folder for logs cannot be made for lack of space, the Job waits and goes on when there is space again."""
    real = machine.kubelet._prepare
    tries = []

    async def full(run):
        tries.append(run)
        if len(tries) < 3:
            from kuttab.node import processes

            raise processes.verdict(OSError(28, "No space left on device"), "cannot prepare the folders of pod x")
        await real(run)

    machine.kubelet._prepare = full
    await machine.job("print('ok')")
    assert (await machine.done())[0] == "Complete"
    assert len(tries) == 3
    assert len(await machine.pods()) == 1
    assert any("No space left" in message for _, _, message in machine.events.seen)


async def test_d19_awkward_data_folder(tmp_path, machines):
    """Blanks, quotes, dollar signs and newlines in the folder's name do not reach a shell: paths in scripts work."""
    machine = machines()
    folder = tmp_path / "a b$HOME'\"\n;ü(x)"
    machine = type(machine)(folder)
    await machine.open()
    try:
        await machine.job(
            "echo kept >/state/f && cat /state/f && echo $PWD >/dev/null",
            python=False,
            container={"volumeMounts": [{"name": "state", "mountPath": "/state"}]},
            pod={"volumes": [{"name": "state", "emptyDir": {}}]},
        )
        assert (await machine.done())[0] == "Complete"
        assert machine.logs() == ["kept\n"]
    finally:
        await machine.close()


async def test_d19_longest_names(machine):
    """A Job of the longest name that a label takes runs."""
    name = "n" * 63
    await machine.job("print('ok')", name=name)
    assert (await machine.done(name))[0] == "Complete"
    [pod] = await machine.pods(name)
    assert len(pod.name) == 63


async def test_values_stay_values(machine):
    """Hostile text in arguments and environment reaches the program byte for byte; nothing is interpreted."""
    hostile = "a'b\"c;$(touch x)`id`\n\t$HOME %s \\ \u202e ü"
    script = "import os, sys; sys.stdout.buffer.write(repr([sys.argv[1], os.environ['V']]).encode())"
    await machine.job(
        container={"command": ["python", "-S", "-c", script, hostile], "env": [{"name": "V", "value": hostile}]}
    )
    assert (await machine.done())[0] == "Complete"
    assert machine.logs() == [repr([hostile, hostile])]


async def test_python_is_ours_and_output_is_not_buffered(machine):
    """``python`` is the interpreter (and environment) that runs kuttab, and a print is in the log at once."""
    script = "import sys, time; print(sys.prefix); print('.'); time.sleep(60)"
    await machine.job(container={"command": ["python", "-c", script]})
    assert (await machine.printed("\n.")).splitlines()[0] == sys.prefix


async def test_own_folder_and_results(machine):
    """A container without workingDir starts in a folder of its own, which is kept."""
    await machine.job("import os; open('result.txt', 'w').write('1'); print(os.getcwd())")
    assert (await machine.done())[0] == "Complete"
    folder = machine.logs()[0].strip()
    assert os.path.exists(folder + "/result.txt")
    assert os.stat(folder).st_mode & 0o77 == 0


async def test_population_member_starts_from_its_parents_checkpoint(machine):
    """The folder named by suggestion_trial_dir is the trial's own, filled from its parent's."""
    experiment = {
        "apiVersion": "kubeflow.org/v1beta1", "kind": "Experiment", "metadata": {"name": "exp", "namespace": "default"},
        "spec": {"algorithm": {"algorithmName": "pbt", "algorithmSettings": [{"name": "suggestion_trial_dir", "value": "/ckpt/"}]}},
    }  # fmt: skip
    await machine.objects.create(kinds.load(experiment))
    script = "cat /ckpt/step 2>/dev/null; echo $KATIB_TRIAL_NAME >/ckpt/step"
    for name, labels in (("a", {}), ("b", {"pbt.suggestion.katib.kubeflow.org/parent": "a"})):
        common = {"katib.kubeflow.org/experiment": "exp", "pbt.suggestion.katib.kubeflow.org/generation": "0"}
        owner = await machine.trial(name, metadataLabels={**common, **labels})
        await machine.job(script, name=name, owner=owner, python=False)
        assert (await machine.done(name))[0] == "Complete"
    assert machine.logs("a") == [""]
    assert machine.logs("b") == ["a\n"]


async def test_s28_nothing_is_started_for_a_trial_that_is_gone(machine):
    """A Job whose own Trial does not exist any more is never given a process, also when another Trial has that name."""
    owner = await machine.trial()
    job = await machine.job("pass", owner=owner)
    await machine.done()
    assert (await owners.trial_of(machine.objects, job)).uid == owner.uid
    [reference] = job.metadata.owner_references
    stale = [meta.evolve(reference, uid="another")]
    with pytest.raises(owners.TrialGoneError):
        await owners.trial_of(
            machine.objects, meta.evolve(job, metadata=meta.evolve(job.metadata, owner_references=stale))
        )


async def test_kill_of_every_process_of_a_job_is_only_that_jobs_business(machine):
    """Killing one trial's group at random leaves ten others untouched (D03)."""
    for n in range(6):
        await machine.job("import time; print('up', flush=True); time.sleep(0.5)", name=f"j{n}", backoffLimit=0)
    victim = await machine.running("j3")
    os.killpg(identity.Identity.parse(pod_status.tokens(victim)[0]).pid, signal.SIGKILL)
    ends = {f"j{n}": (await machine.done(f"j{n}"))[0] for n in range(6)}
    assert ends == {**{f"j{n}": "Complete" for n in range(6)}, "j3": "Failed"}


@pytest.mark.parametrize("hold", [30.0, 0.0])
async def test_a_start_is_written_down_unless_the_end_comes_first(machines, hold):
    """A Job that ends in a moment is written once, with its start and its process; one that goes on is seen running first."""
    machine = await machines(hold_seconds=hold).open()
    seen = []
    machine.store.observers.append(lambda entry: seen.append((entry.object.kind, entry.object.section("status"))))
    try:
        await machine.job("" if hold else "import time; time.sleep(0.3)")
        assert (await machine.done())[0] == "Complete"
        (pod,) = await machine.pods()
        phases = [status["phase"] for kind, status in seen if kind == "Pod" and status]
        counts = [status.get("active") for kind, status in seen if kind == "Job" and status]
        assert phases == (["Succeeded"] if hold else ["Running", "Succeeded"])
        assert counts == ([None] if hold else [1, None])
        status = (await machine.get(kinds.JOB, "t")).section("status")
        assert status["startTime"] <= status["completionTime"]
        (main,) = pod.section("status")["containerStatuses"]
        assert identity.Identity.parse(main["containerID"]) is not None
        assert main["state"]["terminated"]["startedAt"]
        assert not pod.metadata.finalizers
    finally:
        await machine.close()


async def test_over_jobs_are_not_looked_at_again(machine):
    """The end that a pass wrote itself and the job's deletion need no pass."""
    (jobs,) = [c for c in machine.workloads.controllers if c.name == "job"]
    await machine.job("print('loss=1')")
    await machine.done()
    await asyncio.sleep(0.1)
    assert jobs.passes == 2, "its creation and the end of its process"
    (logic,) = [each for each in machine.workloads._logic if each.kind == kinds.JOB]
    job = await machine.get(kinds.JOB, "t")
    assert logic.over(job, None)
    assert not logic.over(None, job)
    spec = {**job.section("spec"), "ttlSecondsAfterFinished": 3}
    assert not logic.over(job, meta.evolve(job, spec=spec))
