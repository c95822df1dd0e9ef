import sys

from benchmarks import machine


def test_an_environment_tells_its_versions_and_one_that_is_gone_none():
    found = machine.versions(sys.executable, ("numpy", "no-such-package"))
    assert set(found) == {"python", "numpy"}
    assert machine.versions("/no/such/python", ("numpy",)) == {}


def test_the_hardware_is_described():
    about = machine.describe({"kseg": (sys.executable, ())})
    assert set(about["hardware"]) == {"processor", "cores", "instructions", "memory_gb"}
    assert about["hardware"]["cores"] >= 1
    assert about["date"].endswith("UTC")


def test_bfloat16_is_emulated_without_an_instruction_for_it():
    for instructions, emulated in ((["avx2"], True), (["avx2", "avx512_bf16"], False), (["amx_bf16"], False)):
        assert machine.emulates_bfloat16({"hardware": {"instructions": instructions}}) == emulated
