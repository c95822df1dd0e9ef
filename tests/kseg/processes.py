"""Python processes for tests: workers of one training on this machine, each with its own TF_CONFIG."""

import json
import os
import pathlib
import random
import socket
import subprocess
import sys

FOLDER = pathlib.Path(__file__).parent
PIPES = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)


def start(script: str, *arguments, **environment: str) -> subprocess.Popen:
    """A script of this folder; its standard streams are pipes of text."""
    variables = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"} | environment
    command = [sys.executable, FOLDER / script, *map(str, arguments)]
    return subprocess.Popen(command, env=variables, text=True, **PIPES)


def addresses(count: int) -> list[str]:
    """Of ports that nobody listens on, and that the system gives to nobody who asks for any (32768 and above)."""
    found, drawn = [], random.Random(os.getpid())
    while len(found) < count:
        port = drawn.randrange(20_000, 32_000)
        with socket.socket() as probe:
            if probe.connect_ex(("localhost", port)) and port not in found:
                found.append(port)
    return [f"localhost:{port}" for port in found]


def tf_config(there: list[str], index: int) -> str:
    """The environment variable of worker `index` of those at these addresses."""
    return json.dumps({"cluster": {"worker": there}, "task": {"type": "worker", "index": index}})


def start_workers(script: str, *arguments, there: list[str], **environment: str) -> list[subprocess.Popen]:
    """A process for each address."""
    return [start(script, *arguments, TF_CONFIG=tf_config(there, index), **environment) for index in range(len(there))]


def await_line(process: subprocess.Popen, start: str) -> None:
    """Returns once it has printed a line that begins so; fails if it ends before."""
    while not process.stdout.readline().startswith(start):
        assert process.poll() is None


def ended(processes: list[subprocess.Popen]) -> list[tuple[int, str, str]]:
    """(exit status, standard output, standard error) of each, once it has ended."""
    outputs = [process.communicate(timeout=300) for process in processes]
    return [(process.returncode, *output) for process, output in zip(processes, outputs, strict=True)]


def stop(processes: list[subprocess.Popen]) -> None:
    """Kills those that run, for the end of a test that may have failed."""
    for process in processes:
        process.kill()
        process.communicate()
