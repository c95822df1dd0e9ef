import json
import pickle

import pytest
import tensorflow as tf

from data_tools.colors import ColorTable
from data_tools.encoding import UNMAPPED, color_classes, make_encoding, read_label_map, value_classes
from kseg.errors import UsageError

TABLE = ColorTable(("road", "car", "sky"), ((1, 2, 3), (200, 0, 0), (0, 0, 255)), ((0, 0, 0),))


def classes(encoding, *values) -> list[int]:
    return value_classes(encoding)[list(values)].tolist()


def test_without_rules_a_value_is_its_class():
    encoding = make_encoding(3)
    assert classes(encoding, 0, 1, 2, 3, 254, 255, 256, 65535) == [
        *(0, 1, 2, UNMAPPED, UNMAPPED, 255, UNMAPPED, UNMAPPED)
    ]
    assert encoding.to_dict() is None
    assert classes(make_encoding(254), 253, 254) == [253, UNMAPPED]


@pytest.mark.parametrize("scale", ["3", 3])
def test_scale_divides_and_rounds_down(scale):
    encoding = make_encoding(4, label_map={"scale": scale})
    assert classes(encoding, 0, 2, 3, 5, 11, 12, 255, 765) == [0, 0, 1, 1, 3, UNMAPPED, 255, UNMAPPED]
    assert encoding.to_dict() == {"scale": 3, "unmapped": "refuse", "original": {"values": [0, 3, 6, 9]}}
    assert encoding.allowed == "0 to 11, as value // 3 is the class, 255 = ignore"


def test_the_map_goes_from_classes_to_file_values():
    encoding = make_encoding(3, label_map={"map": {"0": 5, "1": "0", "2": 2}})
    assert classes(encoding, 0, 1, 2, 5, 255) == [1, UNMAPPED, 2, 0, 255]
    assert encoding.to_dict()["map"] == {"0": [5], "1": [0], "2": [2]}
    assert encoding.to_dict()["original"] == {"values": [5, 0, 2]}
    assert encoding.allowed == "0, 2, 5 by the label map, 255 = ignore"


def test_a_map_may_merge_values_leave_classes_out_and_use_255():
    label_map = {"map": {"0": [8, 7, 9], "2": 65535, "3": 255, "255": [0, 254]}}
    encoding = make_encoding(4, label_map=label_map)
    assert classes(encoding, 7, 8, 65535, 255, 0, 254, 1) == [0, 0, 2, 3, 255, 255, UNMAPPED]
    assert encoding.original() == {"values": [8, None, 65535, 255]}
    assert encoding.allowed == "0, 7 to 9, 254 to 255, 65535 by the label map"


def test_ignored_values_and_the_reduced_zero():
    encoding = make_encoding(3, reduce_zero_label=True, ignore_values=(2, 9))
    assert classes(encoding, 0, 1, 2, 3, 4, 9, 255) == [255, 0, 255, 2, UNMAPPED, 255, 255]
    assert encoding.to_dict() == {
        **{"reduce_zero_label": True, "ignore_values": [2, 9], "unmapped": "refuse"},
        "original": {"values": [1, None, 3]},
    }
    assert classes(make_encoding(254, reduce_zero_label=True), 254, 255, 256) == [253, 255, UNMAPPED]


def test_what_needs_no_undoing_is_recorded_without_an_original():
    assert make_encoding(2, ignore_values=(7,)).to_dict() == {
        **{"ignore_values": [7], "unmapped": "refuse", "original": None}
    }
    assert make_encoding(2, unmapped="ignore").to_dict() == {"unmapped": "ignore", "original": None}


def test_a_scale_that_would_make_255_a_class_is_refused():
    """255 // 51 is 5, but 255 stays 255: masks of 0, 51, ... 255 would lose their last class."""
    with pytest.raises(UsageError, match=r"scale 51 makes class 5 of value 255, which is ignored.*\"5\": 255"):
        make_encoding(6, label_map={"scale": 51})
    encoding = make_encoding(5, label_map={"scale": 51})
    assert classes(encoding, 254, 255, 256) == [4, 255, UNMAPPED]
    assert encoding.original() == {"values": [0, 51, 102, 153, 204]}


def test_colors_count_as_their_lines():
    encoding = make_encoding(3, colors=TABLE, palette="color")
    table = color_classes(encoding)
    assert [int(table[red + 256 * green + 65536 * blue]) for red, green, blue in TABLE.colors] == [0, 1, 2]
    assert (table[0], int((table != UNMAPPED).sum())) == (255, 4)
    record = encoding.to_dict()
    assert record == {
        **{"colors": [[1, 2, 3], [200, 0, 0], [0, 0, 255]], "ignored_colors": [[0, 0, 0]], "palette": "color"},
        **{"unmapped": "refuse", "original": {"colors": [[1, 2, 3], [200, 0, 0], [0, 0, 255]]}},
    }
    assert json.loads(json.dumps(record)) == record


def test_a_label_map_renumbers_the_lines_of_colors():
    encoding = make_encoding(2, colors=TABLE, label_map={"map": {"0": 2, "1": [1, 0]}})
    table = color_classes(encoding)
    assert [int(table[red + 256 * green + 65536 * blue]) for red, green, blue in TABLE.colors] == [1, 1, 0]
    assert encoding.original() == {"colors": [[0, 0, 255], [200, 0, 0]]}
    assert make_encoding(4, colors=TABLE).original()["colors"][3] is None


def test_encodings_travel_to_workers_and_are_keys():
    encoding = make_encoding(3, colors=TABLE, label_map={"map": {"0": [2, 1]}}, ignore_values=[9])
    value_classes(encoding)
    again = pickle.loads(pickle.dumps(encoding))
    assert (again, hash(again)) == (encoding, hash(encoding))
    assert len(pickle.dumps(encoding)) < 2000  # the tables stay behind
    with pytest.raises(ValueError, match="read-only"):
        value_classes(again)[0] = 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[" * 100000, "not JSON"),
        ("[1]", r"\[1\]; allowed: "),
        ("{}", r"the keys \(none\)"),
        ('{"scale": 3, "map": {"0": 1}}', "the keys 'scale', 'map'"),
        ('{"scales": 3}', "the keys 'scales'"),
        ('{"scale": 0}', "scale 0; allowed: an integer from 1"),
        ('{"scale": 2.5}', "scale 2.5"),
        ('{"scale": "x"}', "scale 'x'"),
        ('{"scale": true}', "scale True"),
        ('{"map": {}}', "map {}"),
        ('{"map": [1, 2]}', r"map \[1, 2\]"),
        ('{"map": {"0": 1, "0": 2}}', "'0' is there twice"),
        ('{"map": {"0": 1, "00": 2}}', "class '00'; allowed: each class once"),
        ('{"map": {"a": 1}}', "class 'a'"),
        ('{"map": {"254": 1}}', "class '254'"),
        ('{"map": {"-1": 1}}', "class '-1'"),
        ('{"map": {"0": 1, "1": [4, 1]}}', "value 1 is listed for 0 and for 1"),
        ('{"map": {"0": -1}}', "-1 for class 0; allowed: 0 to 65535"),
        ('{"map": {"0": 65536}}', "65536 for class 0"),
        ('{"map": {"0": []}}', r"\[\] for class 0"),
        ('{"map": {"0": null}}', "None for class 0"),
    ],
)
def test_refused_label_maps_name_their_file(tmp_path, content, message):
    path = tmp_path / "train_label_map.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=message) as error:
        read_label_map(str(path))
    assert str(error.value).startswith(f"label map {path}: ")


def test_remote_label_maps():
    tf.io.gfile.GFile("ram://label_maps/map.json", "w").write('{"scale": 7}')
    assert read_label_map("ram://label_maps/map.json") == {"scale": 7}
    with pytest.raises(UsageError, match=r"^label map ram://label_maps/no\.json: .*allowed: "):
        read_label_map("ram://label_maps/no.json")


def test_label_map_files(tmp_path):
    path = tmp_path / "map.json"
    path.write_text('{"map": {"0": 5, "1": "0", "2": [2, 3]}}', encoding="utf-8-sig")
    assert read_label_map(str(path)) == {"map": {"0": 5, "1": "0", "2": [2, 3]}}
    with pytest.raises(UsageError, match=r"nowhere\.json: cannot be read \(No such file"):
        read_label_map(str(tmp_path / "nowhere.json"))
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"binary\.json: cannot be read"):
        read_label_map(str(tmp_path / "binary.json"))


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"label_map": {"map": {"3": 1}}, "label_map_file": "x.json"}, "label map x.json: class 3; allowed: 0 to 2"),
        ({"label_map": {"scale": 2}, "reduce_zero_label": True}, "--reduce_zero_label: contradicts the label map"),
        ({"label_map": {"map": {"0": [1, 7]}}, "ignore_values": (7,)}, "--ignore_values=7: the label map lists this"),
        ({"label_map": {"other": 1}}, "the label map: the keys 'other'"),
        ({"palette": "color"}, "--palette=color: which colour is which class"),
        ({"palette": "colour"}, "--palette=colour: allowed: index, color"),
        ({"unmapped": "skip"}, "--unmapped=skip: allowed: refuse, ignore"),
        ({"ignore_values": (3, 65536)}, "--ignore_values=3,65536: allowed: 0 to 65535"),
        ({"ignore_values": (-1,)}, "--ignore_values=-1: allowed"),
    ],
)
def test_rules_that_do_not_go_together(rules, message):
    with pytest.raises(UsageError, match=message):
        make_encoding(3, **rules)
