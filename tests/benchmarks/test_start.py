from benchmarks import start


def test_parts_add_up_to_the_whole(monkeypatch):
    stamps = [["python", 10.5], ["tensorflow", 13.0], ["first step", 30.0]]
    report = {"stamps": stamps, "processor": 40.0, "peak_kb": 2**20}
    monkeypatch.setattr(start, "watched", lambda config: (10.0, report))
    line = start.measured(start.StartConfig(data="records"))
    assert line["parts"] == {"python": 0.5, "tensorflow": 2.5, "first step": 17.0}
    assert (line["seconds_to_first_step"], line["processor_seconds"], line["peak_rss_gb"]) == (20.0, 40.0, 1.0)


def test_the_watcher_is_python():
    compile(start.WATCHER, "watcher", "exec")
