"""What the machine offers: precision and distribution strategy."""

import functools
import os

import keras
import tensorflow as tf

from kseg import workers
from kseg.cluster import EXPECTED, read_cluster
from kseg.config import TrainConfig
from kseg.config.distribution import AUTO, MIRRORED, MULTI_WORKER, ONE_DEVICE
from kseg.errors import UsageError

PRECISIONS = ("float32", "bfloat16", "float16")
BFLOAT16_INSTRUCTIONS = {"avx512_bf16", "amx_bf16"}
BFLOAT16_CAPABILITY = (8, 0)  # NVIDIA Ampere, the first with bfloat16 tensor cores


@functools.cache
def processor(cpuinfo: str = "/proc/cpuinfo") -> tuple[str, frozenset[str]]:
    """(model name, instruction-set flags) of the first processor; ("", none) where the file is missing (not Linux)."""
    try:
        with open(cpuinfo, encoding="utf-8") as file:
            first = file.read().split("\n\n")[0]
    except OSError:
        return "", frozenset()
    fields = dict(line.split(":", 1) for line in first.splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    return fields.get("model name", ""), frozenset(fields.get("flags", "").split())


def _gpus() -> list[tuple[str, tuple[int, int]]]:
    """(name, compute capability) of every visible GPU."""
    details = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.get_visible_devices("GPU")]
    return [(found.get("device_name", "GPU"), found.get("compute_capability", (0, 0))) for found in details]


def processor_has_bfloat16() -> bool:
    """Whether the processor has instructions for bfloat16; others emulate it, slower than float32."""
    return bool(processor()[1] & BFLOAT16_INSTRUCTIONS)


def resolve_precision(mixed_precision: str = "auto") -> str:
    """The network's precision, one of PRECISIONS, for a value of --mixed_precision.

    "auto" is bfloat16 where there are instructions for it: on every visible GPU or, without a GPU, in the processor
    (training 1.4x and inference 1.6x as fast on one with avx512_bf16; without, it is emulated and slower).

    Raises:
        UsageError: for another value.
    """
    if mixed_precision in PRECISIONS:
        return mixed_precision
    if mixed_precision != "auto":
        raise UsageError(f"--mixed_precision={mixed_precision}: allowed: auto, {', '.join(PRECISIONS)}")
    gpus = _gpus()
    if gpus:
        fast = all(capability >= BFLOAT16_CAPABILITY for _, capability in gpus)
    else:
        fast = processor_has_bfloat16()
    return "bfloat16" if fast else "float32"


def resolve_jit(jit_compile: str = "auto", replicas: int = 1) -> bool:
    """Whether to compile the training step with XLA, for a value of --jit_compile.

    "auto" is True on a single GPU: on 2 cores XLA trained at 0.6 times the speed, and Keras compiles one function
    around all replicas, which XLA refuses.

    Raises:
        UsageError: for "True" with several replicas, or another value.
    """
    if jit_compile not in ("auto", "True", "False"):
        raise UsageError(f"--jit_compile={jit_compile}: allowed: auto, True, False")
    if jit_compile == "True" and replicas > 1:
        raise UsageError(f"--jit_compile=True: not on {replicas} devices at once; allowed: auto, False")
    if jit_compile == "auto":
        return replicas == 1 and bool(_gpus())
    return jit_compile == "True"


def on_processor(precision: str) -> bool:
    """Whether a network's convolutions go a processor's way (kseg.models.convolution): without a GPU, where they gain.

    In bfloat16 that was measured with AVX512_BF16 alone: others emulate it, and Intel's AMX multiplies in another way.
    """
    if tf.config.get_visible_devices("GPU"):
        return False
    flags = processor()[1]
    return precision == "float32" or (precision == "bfloat16" and BFLOAT16_INSTRUCTIONS & flags == {"avx512_bf16"})


def strategy(config: TrainConfig) -> tf.distribute.Strategy:
    """Who trains together, as --distribution says; before TensorFlow has done anything else.

    With several workers it waits until all have come up (`kseg.workers.start`).

    Raises:
        UsageError: for a distribution that TF_CONFIG or the devices contradict, or a batch that they cannot share.
        RunError: naming a worker that has not come up.
    """
    cluster, kind = read_cluster(os.environ.get("TF_CONFIG")), config.distribution
    if cluster is not None and kind in (ONE_DEVICE, MIRRORED):
        raise UsageError(
            f"--distribution={kind}: the environment variable TF_CONFIG names {len(cluster.workers)} workers, which "
            f"would each train by itself; allowed: {AUTO}, {MULTI_WORKER}, or unset TF_CONFIG"
        )
    if cluster is None and kind == MULTI_WORKER:
        raise UsageError(
            f"--distribution={MULTI_WORKER}: the environment variable TF_CONFIG names no other worker; allowed: "
            f"TF_CONFIG={EXPECTED}, or another --distribution"
        )
    devices = _local_devices(config.logical_devices)
    if kind == MIRRORED and devices < 2:
        raise UsageError(
            f"--distribution={MIRRORED}: this machine has one device; allowed: {AUTO}, {ONE_DEVICE}, or "
            "--logical_devices=2 or more without a GPU"
        )
    replicas = 1 if kind == ONE_DEVICE else devices
    _check_shares(config, replicas * (len(cluster.workers) if cluster else 1))
    if cluster is not None:
        return workers.start(cluster, config.worker_timeout, config.logical_devices)
    if replicas == 1:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(devices)] if config.logical_devices > 1 else None)


def _local_devices(logical_devices: int) -> int:
    """How many devices of this machine could share a batch; splits the processor first."""
    gpus = tf.config.get_visible_devices("GPU")
    if logical_devices == 1:
        return max(len(gpus), 1)
    if gpus:
        raise UsageError(
            f"--logical_devices={logical_devices}: this machine has {len(gpus)} GPUs to train on; allowed: 1, or set "
            "the environment variable CUDA_VISIBLE_DEVICES=-1"
        )
    (processor,) = tf.config.get_visible_devices("CPU")
    try:
        parts = [tf.config.LogicalDeviceConfiguration()] * logical_devices
        tf.config.set_logical_device_configuration(processor, parts)
    except RuntimeError:  # also where it is split already, as for a second training in a process
        there = len(tf.config.list_logical_devices("CPU"))
        if there < logical_devices:
            raise UsageError(
                f"--logical_devices={logical_devices}: TensorFlow runs already, with {there}; allowed: 1 to {there}"
            ) from None
    return logical_devices


def _check_shares(config: TrainConfig, replicas: int) -> None:
    """Refuses batches that the devices of all workers cannot share evenly."""
    if config.mini_batch_size % replicas:
        raise UsageError(
            f"--mini_batch_size={config.mini_batch_size}: allowed: a multiple of the {replicas} devices it is shared "
            "by, over all workers (or --distribution=one_device)"
        )


def describe() -> str:
    """One line for logs: processor, cores, its bfloat16 instructions, GPUs, versions of TensorFlow and Keras."""
    name, flags = processor()
    instructions = " ".join(sorted(flags & BFLOAT16_INSTRUCTIONS)) or "no bfloat16 instructions"
    gpus = ", ".join(f"{gpu} (compute capability {major}.{minor})" for gpu, (major, minor) in _gpus()) or "no GPU"
    return (
        f"{name or 'unknown processor'}, {os.cpu_count()} cores, {instructions}; {gpus}; "
        f"TensorFlow {tf.__version__}, Keras {keras.__version__}"
    )
