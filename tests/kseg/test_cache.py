import os

import pytest

from kseg import cache


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("KSEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_is_kept_is_read_by_kind_and_key(folder):
    assert cache.read("graphs", "a") is None
    cache.write("graphs", "a", b"first")
    cache.write("graphs", "b", b"")
    assert [cache.read("graphs", key) for key in "abc"] == [b"first", b"", None]
    assert cache.read("others", "a") is None
    cache.write("graphs", "a", b"second")
    assert cache.read("graphs", "a") == b"second"
    assert len(files(folder)) == 2


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: content[:-1] + b"!", lambda _: b""])
def test_a_damaged_file_counts_as_none_and_is_replaced(folder, damage):
    cache.write("graphs", "a", b"content")
    (path,) = files(folder)
    path.write_bytes(damage(path.read_bytes()))
    assert cache.read("graphs", "a") is None
    cache.write("graphs", "a", b"content")
    assert cache.read("graphs", "a") == b"content"


def test_off_keeps_nothing(folder, monkeypatch):
    cache.write("graphs", "a", b"content")
    monkeypatch.setenv("KSEG_CACHE", "off")
    assert cache.folder() is None
    assert cache.read("graphs", "a") is None
    cache.write("graphs", "b", b"content")
    assert len(files(folder)) == 1


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("KSEG_CACHE", str(tmp_path / "file" / "cache"))
    cache.write("graphs", "a", b"content")
    assert cache.read("graphs", "a") is None


def test_only_the_newest_files_stay(folder, monkeypatch):
    monkeypatch.setattr(cache, "KEPT", 2)
    for age, key in enumerate("dcba"):
        before = set(files(folder))
        cache.write("graphs", key, key.encode())
        (new,) = set(files(folder)) - before
        os.utime(new, (1000 + age, 1000 + age))
    assert [cache.read("graphs", key) for key in "abcd"] == [b"a", b"b", None, None]


def test_what_is_read_stays(folder, monkeypatch):
    monkeypatch.setattr(cache, "KEPT", 2)
    for key in "ab":
        cache.write("graphs", key, b"")
        for path in files(folder):
            os.utime(path, (1000 + ord(key), 1000 + ord(key)))
    assert cache.read("graphs", "a") == b""
    cache.write("graphs", "c", b"")
    assert [cache.read("graphs", key) for key in "abc"] == [b"", None, b""]


def test_a_user_without_a_home_has_no_cache(monkeypatch):
    monkeypatch.delenv("KSEG_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache.folder() is None


def test_the_users_cache_folder_by_default(tmp_path, monkeypatch):
    monkeypatch.delenv("KSEG_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.folder() == tmp_path / "xdg" / "kseg"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache.folder() == tmp_path / "home" / ".cache" / "kseg"
