"""The commands on s3:// alone, as processes, against a server that kills, signals and outages come between.

What happens when is settled by the requests that pass, not by time.
"""

import io
import json
import pathlib
import subprocess
import sys

import pytest
from PIL import Image
from proxy import HANG, REFUSE, RESET, Proxy, proxy
from s3_server import BUCKET, needs_tensorflow_io, s3_server

ROOT = f"s3://{BUCKET}"
TRAIN = ["--backbone=resnet-18", "--use_pretrained_model=False", "--output_stride=32", "--base_size=48"]
TRAIN += ["--crop_size=32", "--mini_batch_size=2", "--validation_mini_batch_size=1", "--mixed_precision=float32"]
TRAIN += ["--validation_pictures=1", "--learning_rate=0.01", "--epochs=2", "--deterministic"]
REMOTE = [f"--data={ROOT}/data", "--checkpoint_every_steps=1"]
# (A request, how the server is away from it on): while shards, checkpoints, metrics and the validation are under way.
LEAVES = (
    (r"GET /bucket/data/train-0000", REFUSE),
    (r"PUT /bucket/run/checkpoints/epoch-00001-step-000000\d/state.data", RESET),
    (r"GET /bucket/data/validation-", HANG),
    (r"PUT /bucket/run/metrics.jsonl", REFUSE),
)

pytestmark = needs_tensorflow_io


class Place:
    """A server with the data set, what stands in front of it, and how processes come to both."""

    def __init__(self, server, front: Proxy, cache: pathlib.Path):
        self.server, self.front = server, front
        self.environment = server.environment | {"S3_ENDPOINT": front.endpoint, "KSEG_CACHE": str(cache)}
        self.environment["S3_REQUEST_TIMEOUT_MSEC"] = "1000"  # else 9 s more of waiting

    def start(self, module: str, *flags: str, **environment: str) -> subprocess.Popen:
        command = [sys.executable, pathlib.Path(__file__).with_name("small_command.py"), module, *flags]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, env=self.environment | environment, **pipes)

    def run(self, module: str, *flags: str, status: int = 0, **environment: str) -> str:
        return ended(self.start(module, *flags, **environment), status)


def ended(process: subprocess.Popen, status: int) -> str:
    """Standard output, and the command's own line on standard error."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == status, f"{process.returncode}\n{out}\n{err}"
    assert "Traceback" not in err
    assert "virtual method" not in err
    return out + "".join(line for line in err.splitlines(keepends=True) if line.startswith("kseg-"))


@pytest.fixture(scope="module")
def place(tiny_data, tmp_path_factory):
    with s3_server() as server, proxy(server.environment["S3_ENDPOINT"]) as front:
        server.upload(pathlib.Path(tiny_data), "data")
        yield Place(server, front, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> pathlib.Path:
    """Where `said` trains on the local disk."""
    return tmp_path_factory.mktemp("local") / "run"


@pytest.fixture(scope="module")
def said(place, undisturbed, tiny_data) -> list[str]:
    """What each start of one training in s3://bucket/run printed: killed, terminated, and through four outages."""
    local = place.start("train", f"--data={tiny_data}", f"--output_dir={undisturbed}", *TRAIN)
    flags = ["train", *REMOTE, f"--output_dir={ROOT}/run", *TRAIN]
    killed = place.start(*flags)
    place.front.at(r"PUT /bucket/run/checkpoints/epoch-00000-step-0000002/place.json", killed.kill)
    told = [ended(killed, -9)]
    ended(local, 0)
    terminated = place.start(*flags)
    place.front.at(r"GET /bucket/data/validation-", terminated.terminate)
    told.append(ended(terminated, 75))
    for request, how in LEAVES:
        place.front.leave_at(request, how)
    process, lines = place.start(*flags), []
    for line in process.stdout:
        lines.append(line)
        if "; trying again for " in line:
            place.front.come_back()
    return [*told, "".join(lines) + ended(process, 0)]


def test_a_kill_and_a_signal_are_gone_on_from(place, said):
    assert "resuming s3://bucket/run" in said[1]
    assert "still trains into it" not in said[1]  # the lock of a dead process of this machine
    assert "kseg-train: SIGTERM: stopped after " in said[1]
    assert "a checkpoint is kept, the same command goes on from it" in said[1]
    assert "resuming s3://bucket/run" in said[2]


def test_outages_are_waited_out(place, said):
    assert place.front.awaits == 0  # all four came to pass
    assert said[2].count("; trying again for 45 seconds") == said[2].count("the storage answers again") >= 1


@pytest.mark.usefixtures("said")
def test_the_run_is_the_undisturbed_one(place, undisturbed):
    run = place.server.content("run")
    assert run["metrics.jsonl"] == (undisturbed / "metrics.jsonl").read_bytes()
    there = {name.partition("/")[0] for name in run}
    assert there == {path.name for path in undisturbed.iterdir()} - {".lock"}
    assert [name for name in run if ".part" in name] == []
    assert sum("events.out" in name for name in run) == 1  # nothing is drawn before the end of an epoch


@pytest.mark.usefixtures("said")
def test_export_scores_and_masks_from_there(place):
    output = place.run("export", f"--run={ROOT}/run", f"--export_dir={ROOT}/export")
    assert f"exported: {ROOT}/export/1" in output
    written = [line for line in place.server.requests() if line.startswith("PUT /bucket/export/1/")]
    assert len(written) == len(place.server.content("export")) > 4
    assert written[-1].endswith("/saved_model.pb")
    data = [f"--data={ROOT}/data", "--split=validation"]
    scoring = [
        place.start("evaluate", f"--{flag}={ROOT}/{path}", *data, f"--json={ROOT}/scores/{flag}")
        for flag, path in (("run", "run"), ("saved_model", "export/1"))
    ]
    picture = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(picture, "JPEG")
    place.server.put("pictures/red.jpg", picture.getvalue())
    target = [f"--images={ROOT}/pictures", f"--output={ROOT}/predicted"]
    scoring.append(place.start("predict", f"--saved_model={ROOT}/export/1", *target))
    for process in scoring:
        ended(process, 0)
    assert set(place.server.content("predicted")) == {"masks/red.png", "overlays/red.jpg"}
    scores = place.server.content("scores")
    run, export = (json.loads(scores[flag]) for flag in ("run", "saved_model"))
    assert run["mIOU"] == pytest.approx(export["mIOU"], abs=1e-3)
    best = max(
        json.loads(line)["validation:mIOU"] for line in place.server.content("run")["metrics.jsonl"].splitlines()
    )
    assert run["mIOU"] == pytest.approx(best, abs=1e-3)


def test_a_server_that_stays_away_ends_it_with_one_line(place):
    """While shards are read, and while a checkpoint is written."""
    requests = {REFUSE: r"GET /bucket/data/train-", HANG: r"PUT /bucket/gone/checkpoints/.*state.data"}
    for how, request in requests.items():
        place.front.leave_at(request, how)
        flags = [*REMOTE, f"--output_dir={ROOT}/gone", *TRAIN]
        output = place.run("train", *flags, status=1, KSEG_STORAGE_PATIENCE="4")
        place.front.come_back()
        (line,) = (line for line in output.splitlines() if line.startswith("kseg-train: "))
        assert "no access to the bucket bucket at http://127.0.0.1:" in line
    assert "resuming" not in output
    assert "metrics.jsonl" not in place.server.content("gone")


def test_what_is_wrong_at_the_start_is_one_line(place):
    """No such bucket for the data or the run, nobody at the endpoint, wrong credentials; nothing is written."""
    before, nobody = set(place.server.content("x")), Proxy(place.front.endpoint)
    nobody.leave(REFUSE)
    wrong = {
        "there is no bucket nothing": [f"--data={ROOT}/data", "--output_dir=s3://nothing/x"],
        f"no access to the bucket bucket at {nobody.endpoint}": [f"--data={ROOT}/data", f"--output_dir={ROOT}/x"],
    }
    started = {
        reason: place.start("train", *flags, *TRAIN, **({"S3_ENDPOINT": nobody.endpoint} if "access" in reason else {}))
        for reason, flags in wrong.items()
    }
    for reason, process in started.items():
        assert reason in ended(process, 1)
    place.server.forbid()
    output = place.run("train", f"--data={ROOT}/data", f"--output_dir={ROOT}/x", *TRAIN, status=1)
    assert "access denied; expected AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in output
    assert before == set()
