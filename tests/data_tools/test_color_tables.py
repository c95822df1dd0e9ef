from data_tools import color_tables, colors
from data_tools.colors import read_colors


def test_cityscapes_has_the_19_train_ids_and_void():
    table = read_colors("cityscapes")
    assert len(table.names) == len(table.colors) == len(set(table.colors)) == 19
    assert [table.values[color] for color in ((128, 64, 128), (70, 130, 180), (0, 0, 142), (119, 11, 32))] == [
        *(0, 10, 13, 18)  # road, sky, car, bicycle
    ]
    assert table.names[13] == "car"
    assert {color for color, value in table.values.items() if value == 255} == set(table.ignored)
    assert {(0, 0, 0), (111, 74, 0), (0, 0, 110)} < set(table.ignored)  # unlabeled, dynamic, trailer
    assert not set(table.ignored) & set(table.colors)


def test_voc_is_its_bit_pattern():
    table = read_colors("voc")
    # As in the development kit's VOClabelcolormap: background, aeroplane, bicycle, person, tvmonitor.
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 15: (192, 128, 128), 20: (0, 64, 128)}
    assert {index: table.colors[index] for index in known} == known
    assert (table.names[15], table.names[20], len(table.names)) == ("person", "tvmonitor", 21)
    assert colors.voc_color(255) == table.ignored[0] == (224, 224, 192)
    assert len({colors.voc_color(index) for index in range(256)}) == 256


def test_ade20k_has_150_classes_of_which_two_share_a_colour():
    table = read_colors("ade20k")
    assert len(table.names) == len(set(table.names)) == 150
    assert {index: table.names[index] for index in (0, 2, 12, 149)} == {0: "wall", 2: "sky", 12: "person", 149: "flag"}
    known = {0: (120, 120, 120), 2: (6, 230, 230), 12: (150, 5, 61), 149: (92, 0, 255)}
    assert {index: table.colors[index] for index in known} == known
    assert table.shared == {(140, 140, 140): ("road", "skyscraper")}
    assert len(table.values) == 149  # 148 colours of one class each, and black
    assert table.values[0, 0, 0] == 255


def test_tables_keep_to_their_lines():
    for text in (color_tables.CITYSCAPES, color_tables.ADE20K):
        assert all(len(entry.split()) >= 4 for entry in text.split(","))
