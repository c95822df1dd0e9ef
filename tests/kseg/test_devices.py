import pytest
import tensorflow as tf

from kseg import devices
from kseg.config import TrainConfig
from kseg.errors import UsageError


def test_processor_reads_the_first_processor(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(
        "processor\t: 0\nmodel name\t: Some CPU @ 2: fast\nflags\t\t: fpu avx512_bf16 sse\n\n"
        "processor\t: 1\nflags\t: x\n"
    )
    assert devices.processor(str(cpuinfo)) == ("Some CPU @ 2: fast", {"fpu", "avx512_bf16", "sse"})


def test_processor_without_cpuinfo(tmp_path):
    assert devices.processor(str(tmp_path / "none")) == ("", frozenset())


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_precision_given_by_hand_is_kept(precision):
    assert devices.resolve_precision(precision) == precision


@pytest.mark.skipif(bool(tf.config.get_visible_devices("GPU")), reason="the GPU decides, not the processor")
@pytest.mark.parametrize(
    ("flags", "expected"),
    [({"avx512f"}, "float32"), ({"avx512_bf16"}, "bfloat16"), ({"amx_bf16", "sse"}, "bfloat16"), (set(), "float32")],
)
def test_auto_precision_follows_the_instructions(flags, expected, monkeypatch):
    monkeypatch.setattr(devices, "processor", lambda: ("CPU", frozenset(flags)))
    assert devices.resolve_precision("auto") == expected


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), "float32"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16")])
def test_auto_precision_follows_the_gpu(capability, expected, monkeypatch):
    monkeypatch.setattr(devices, "_gpus", lambda: [("GPU", (9, 0)), ("GPU", capability)])
    assert devices.resolve_precision("auto") == expected


@pytest.mark.parametrize(
    ("flags", "precisions"),
    [
        ({"avx2"}, {"float32"}),
        ({"avx512_bf16", "avx512f"}, {"float32", "bfloat16"}),
        ({"avx512_bf16", "amx_bf16"}, {"float32"}),
    ],
)
def test_convolutions_go_a_processors_way_where_that_was_measured(flags, precisions, monkeypatch):
    monkeypatch.setattr(devices, "processor", lambda: ("CPU", frozenset(flags)))
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [])
    assert {precision for precision in devices.PRECISIONS if devices.on_processor(precision)} == precisions
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: ["a GPU"])
    assert not any(devices.on_processor(precision) for precision in devices.PRECISIONS)


def test_unknown_precision_is_refused():
    with pytest.raises(UsageError, match="--mixed_precision=fp8: allowed: auto, float32, bfloat16, float16"):
        devices.resolve_precision("fp8")


def test_xla_by_hand_and_by_itself(monkeypatch):
    assert devices.resolve_jit("True") is True
    assert devices.resolve_jit("False") is False
    for gpus, replicas, expected in (([], 1, False), ([("GPU", (8, 0))], 1, True), ([("GPU", (8, 0))] * 2, 2, False)):
        monkeypatch.setattr(devices, "_gpus", lambda gpus=gpus: gpus)
        assert devices.resolve_jit("auto", replicas) is expected
    with pytest.raises(UsageError, match="--jit_compile=True: not on 2 devices at once; allowed: auto, False"):
        devices.resolve_jit("True", 2)
    with pytest.raises(UsageError, match="--jit_compile=yes: allowed: auto, True, False"):
        devices.resolve_jit("yes")


TWO = '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 0}}'
ONE = '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}'


def config(**flags) -> TrainConfig:
    return TrainConfig(data="data", output_dir="run", **flags)


def test_strategy_follows_the_gpus(monkeypatch):
    gpus = tf.config.get_visible_devices("GPU")
    batch = max(len(gpus), 1)
    assert devices.strategy(config(mini_batch_size=batch)).num_replicas_in_sync == batch
    monkeypatch.setenv("TF_CONFIG", ONE)  # as managed services set it for a single machine
    assert devices.strategy(config(mini_batch_size=batch)).num_replicas_in_sync == batch
    assert devices.strategy(config(distribution="one_device")).num_replicas_in_sync == 1


@pytest.mark.parametrize(
    ("tf_config", "flags", "message"),
    [
        ("{", {}, "TF_CONFIG: not JSON"),
        (TWO, {"distribution": "one_device"}, r"--distribution=one_device: .*TF_CONFIG names 2 workers"),
        (TWO, {"distribution": "mirrored"}, r"--distribution=mirrored: .*allowed: auto, multi_worker, or unset"),
        (None, {"distribution": "multi_worker"}, "--distribution=multi_worker: .*TF_CONFIG names no other worker"),
        (ONE, {"distribution": "multi_worker"}, "--distribution=multi_worker: .*TF_CONFIG names no other worker"),
        (None, {"distribution": "mirrored"}, "--distribution=mirrored: this machine has one device; allowed: auto"),
        (TWO, {"mini_batch_size": 3}, "--mini_batch_size=3: allowed: a multiple of the 2 devices .* over all workers"),
        (None, {"logical_devices": 64}, "--logical_devices=64: TensorFlow runs already, with 1; allowed: 1 to 1"),
    ],
)
def test_what_cannot_train_together_is_refused(tf_config, flags, message, monkeypatch):
    visible = tf.config.get_visible_devices
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [] if kind == "GPU" else visible(kind))
    tf.config.list_logical_devices()  # TensorFlow runs
    if tf_config is not None:
        monkeypatch.setenv("TF_CONFIG", tf_config)
    with pytest.raises(UsageError, match=message):
        devices.strategy(config(**flags))


def test_a_split_processor_is_for_machines_without_gpus(monkeypatch):
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: ["one", "two"])
    with pytest.raises(UsageError, match="--logical_devices=2: this machine has 2 GPUs to train on; allowed: 1"):
        devices.strategy(config(logical_devices=2))
    with pytest.raises(UsageError, match="--logical_devices=2: contradicts --distribution=one_device"):
        config(logical_devices=2, distribution="one_device")


def test_description_is_one_line_with_versions():
    line = devices.describe()
    assert "\n" not in line
    assert f"TensorFlow {tf.__version__}" in line
