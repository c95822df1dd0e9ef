"""What TF_CONFIG may say, as plain hosts, Kubeflow, SageMaker and Vertex AI write it, and what not."""

import json

import pytest

from kseg.cluster import read_cluster
from kseg.errors import UsageError

TWO = {"worker": ["a:1", "b:2"]}


def text(cluster, role="worker", index=0, **more) -> str:
    return json.dumps({"cluster": cluster, "task": {"type": role, "index": index}} | more)


def test_workers_are_numbered_as_they_stand():
    cluster = read_cluster(text(TWO, index=1, environment="cloud"))
    assert [str(worker) for worker in cluster.workers] == ["worker 0 (a:1)", "worker 1 (b:2)"]
    assert cluster.me.task == "/job:worker/replica:0/task:1"
    assert [worker.address for worker in cluster.others] == ["a:1"]


def test_a_chief_comes_first():
    cluster = read_cluster(text({"worker": ["b:2"], "chief": ["a:1"]}, index="0"))
    assert [str(worker) for worker in cluster.workers] == ["chief (a:1)", "worker 0 (b:2)"]
    assert cluster.place == 1
    assert read_cluster(text({"worker": ["b:2"], "chief": ["a:1"]}, role="chief")).place == 0


@pytest.mark.parametrize(
    "value", [None, "", " ", "{}", '{"cluster": {}}', text({"worker": ["a:1"]}), text({"chief": ["a:1"]}, role="chief")]
)
def test_one_machine_needs_no_other(value):
    assert read_cluster(value) is None


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("{", "not JSON"),
        ("[]", "no JSON object"),
        ('{"cluster": [1]}', "the cluster is no JSON object"),
        (json.dumps({"cluster": TWO}), "no task"),
        (json.dumps({"cluster": TWO, "task": {"type": "worker"}}), "no task, or one without type and index"),
        (text(TWO, index=2), "the task is worker 2, but the cluster has worker 0, worker 1"),
        (text(TWO, role="chief"), "the task is chief 0, but the cluster has worker 0, worker 1"),
        (text({}), "the task is worker 0, but the cluster has nobody"),
        (text(TWO | {"ps": ["c:3"]}), "the cluster has ps; kseg-train has a use for chief and worker only"),
        (text(TWO | {"evaluator": ["c:3"]}, role="evaluator"), "the cluster has evaluator"),
        (text({"chief": ["a:1", "b:2"]}, role="chief"), "more than one chief"),
        (text({"worker": ["a:1", "b"]}), "the addresses of worker are no list of HOST:PORT"),
        (text({"worker": "a:1"}), "the addresses of worker are no list of HOST:PORT"),
    ],
)
def test_what_is_wrong_is_said_in_one_message(value, what):
    with pytest.raises(UsageError) as caught:
        read_cluster(value)
    message = str(caught.value)
    assert message.startswith(f"the environment variable TF_CONFIG: {what}")
    assert 'expected {"cluster": {"worker": ["HOST:PORT"' in message
