"""Python processes for tests: workers of one training on this machine, each with its own TF_CONFIG."""

import json
import os
import pathlib
import socket
import subprocess
import sys

FOLDER = pathlib.Path(__file__).parent


def start(script: str, *arguments, **environment: str) -> subprocess.Popen:
    """A script of this folder; standard output and errors are pipes of text."""
    variables = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"} | environment
    command = [sys.executable, FOLDER / script, *map(str, arguments)]
    return subprocess.Popen(command, env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def addresses(count: int) -> list[str]:
    """Of ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("localhost", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return [f"localhost:{port}" for port in ports]


def tf_config(there: list[str], index: int) -> str:
    """The environment variable of worker `index` of those at these addresses."""
    return json.dumps({"cluster": {"worker": there}, "task": {"type": "worker", "index": index}})


def start_workers(script: str, *arguments, there: list[str], **environment: str) -> list[subprocess.Popen]:
    """A process for each address."""
    return [start(script, *arguments, TF_CONFIG=tf_config(there, index), **environment) for index in range(len(there))]


def ended(processes: list[subprocess.Popen]) -> list[tuple[int, str, str]]:
    """(exit status, standard output, standard error) of each, once it has ended."""
    outputs = [process.communicate(timeout=300) for process in processes]
    return [(process.returncode, *output) for process, output in zip(processes, outputs, strict=True)]


def stop(processes: list[subprocess.Popen]) -> None:
    """Kills those that run, for the end of a test that may have failed."""
    for process in processes:
        process.kill()
        process.communicate()
