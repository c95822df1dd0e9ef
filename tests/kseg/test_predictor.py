import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kseg import evaluator, predictor
from kseg.cli import predict as command
from kseg.config import PredictConfig
from kseg.errors import RunError
from kseg.labels import LabelMap

LABELS = LabelMap.from_names(["dark", "bright"])


def segment(images: tf.Tensor) -> tf.Tensor:
    """A pixel is bright where its red is above 127."""
    return tf.cast(tf.convert_to_tensor(images)[..., 0] > 127, tf.uint8)


def half_white(height: int, width: int) -> np.ndarray:
    """uint8 [H, W, 3], white in its top half."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2] = 255
    return image


def save(path, image: np.ndarray, **options) -> None:
    Image.fromarray(image).save(path, **options)


def test_masks_and_overlays_have_the_pictures_own_size(tmp_path):
    save(tmp_path / "wide.png", half_white(20, 50))
    save(tmp_path / "tall.jpg", half_white(48, 16), quality=95)
    save(tmp_path / "old.BMP", half_white(10, 10))
    pictures = predictor.find_pictures(str(tmp_path))
    assert predictor.predict(segment, pictures, str(tmp_path / "out"), LABELS) == {}
    for name, (height, width) in {"wide": (20, 50), "tall": (48, 16), "old": (10, 10)}.items():
        mask = np.array(Image.open(tmp_path / "out" / "masks" / f"{name}.png"))
        np.testing.assert_array_equal(mask, half_white(height, width)[..., 0] // 255)
        assert Image.open(tmp_path / "out" / "overlays" / f"{name}.jpg").size == (width, height)


def test_a_mask_is_an_8_bit_palette_png_in_the_classes_colours(tmp_path):
    save(tmp_path / "a.png", half_white(8, 8))
    predictor.predict(segment, [str(tmp_path / "a.png")], str(tmp_path), LABELS)
    mask = Image.open(tmp_path / "masks" / "a.png")
    assert mask.mode == "P"
    header = (tmp_path / "masks" / "a.png").read_bytes()[24:26]
    assert tuple(header) == (8, 3)  # PNG's IHDR: bit depth, colour type "palette"
    np.testing.assert_array_equal(np.array(mask.convert("RGB"))[0, 0], LABELS.colors[1])


def in_original(tmp_path, original) -> Image.Image:
    """The mask of a picture whose top half is class 1, in that encoding."""
    save(tmp_path / "a.png", half_white(8, 6))
    labels = dataclasses.replace(LABELS, original=original)
    predictor.predict(segment, [str(tmp_path / "a.png")], str(tmp_path), labels, original_labels=True)
    return Image.open(tmp_path / "masks" / "a.png")


def test_original_values_are_a_palette_in_the_classes_colours(tmp_path):
    mask = in_original(tmp_path, (250, 3))
    assert mask.mode == "P"
    np.testing.assert_array_equal(np.array(mask)[[0, 7]], [[3] * 6, [250] * 6])
    np.testing.assert_array_equal(np.array(mask.convert("RGB"))[[0, 7], 0], [LABELS.colors[1], LABELS.colors[0]])


def test_original_values_above_255_are_16_bit_grey_and_colours_rgb(tmp_path):
    mask = in_original(tmp_path, (0, 1000))
    assert tuple((tmp_path / "masks" / "a.png").read_bytes()[24:26]) == (16, 0)
    np.testing.assert_array_equal(np.array(mask)[[0, 7]], [[1000] * 6, [0] * 6])
    mask = in_original(tmp_path, ((1, 2, 3), (9, 8, 7)))
    assert mask.mode == "RGB"
    np.testing.assert_array_equal(np.array(mask)[[0, 7], 0], [[9, 8, 7], [1, 2, 3]])


def test_without_an_original_or_the_flag_masks_are_class_numbers(tmp_path):
    assert np.array(in_original(tmp_path, None))[0, 0] == 1
    labels = dataclasses.replace(LABELS, original=(None, 9))
    predictor.predict(segment, [str(tmp_path / "a.png")], str(tmp_path / "plain"), labels)
    assert np.array(Image.open(tmp_path / "plain" / "masks" / "a.png"))[0, 0] == 1


def test_a_class_without_an_original_is_named_before_any_work(tmp_path):
    with pytest.raises(
        RunError, match=r"^--original_labels: no value or colour in the training masks stands for dark;"
    ):
        in_original(tmp_path, (None, 9))
    assert not (tmp_path / "masks").exists()


def test_an_overlay_mixes_the_picture_and_the_class_colour(tmp_path):
    save(tmp_path / "a.png", np.full((16, 16, 3), 200, np.uint8))
    for alpha, want in ((0.0, (200, 200, 200)), (1.0, LABELS.colors[1])):
        predictor.predict(segment, [str(tmp_path / "a.png")], str(tmp_path), LABELS, overlay_alpha=alpha)
        overlay = np.array(Image.open(tmp_path / "overlays" / "a.jpg"), int)
        assert np.abs(overlay - want).max() <= 4  # JPEG's rounding


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_photographs_are_turned_upright(tmp_path, orientation):
    """Stored so that a viewer that obeys EXIF shows the white half on top, whatever the orientation."""
    stored = Image.fromarray(half_white(32, 16))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # PIL.Image.Transpose that turns the upright picture back
    if orientation in undo:
        stored = stored.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "photo.jpg", exif=exif, quality=95)
    predictor.predict(segment, [str(tmp_path / "photo.jpg")], str(tmp_path), LABELS)
    mask = np.array(Image.open(tmp_path / "masks" / "photo.png"))
    np.testing.assert_array_equal(mask, half_white(32, 16)[..., 0] // 255)


def test_two_pictures_with_one_stem_are_refused_before_anything_is_done(tmp_path):
    for name in ("a.png", "b.jpg", "b.png"):
        save(tmp_path / name, half_white(8, 8))
    with pytest.raises(RunError, match=r"two pictures with one stem would get one mask: b.jpg, b.png$"):
        predictor.find_pictures(str(tmp_path))


def test_other_files_are_left_alone_and_a_folder_without_pictures_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(RunError, match=r"no pictures there; expected files ending in \.jpg"):
        predictor.find_pictures(str(tmp_path))
    save(tmp_path / "a.png", half_white(8, 8))
    assert predictor.find_pictures(str(tmp_path)) == [str(tmp_path / "a.png")]
    assert predictor.find_pictures(str(tmp_path / "a.png")) == [str(tmp_path / "a.png")]
    with pytest.raises(RunError, match="not there"):
        predictor.find_pictures(str(tmp_path / "nowhere"))


def test_unreadable_pictures_are_reported_and_the_others_done(tmp_path, capsys, monkeypatch):
    save(tmp_path / "good.png", half_white(8, 8))
    save(tmp_path / "zebra.jpg", half_white(64, 64))
    (tmp_path / "garbage.jpg").write_bytes(b"no picture at all")
    whole = (tmp_path / "zebra.jpg").read_bytes()
    (tmp_path / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.png").write_bytes(b"")
    monkeypatch.setattr(evaluator, "open_segment", lambda **where: (segment, LABELS))
    status = command.run(PredictConfig(run="r", images=str(tmp_path), output=str(tmp_path / "out")))
    assert status == 1
    printed = capsys.readouterr()
    assert "2 of 5 pictures segmented" in printed.out
    lines = [line for line in printed.err.splitlines() if "cannot be read" in line]
    assert [line.split("/")[-1].split(":")[0] for line in lines] == ["empty.png", "garbage.jpg", "truncated.jpg"]
    assert "/garbage.jpg: cannot be read: Unknown image file format. One of JPEG, " in lines[1]
    assert lines[1].endswith(" required.")  # nothing of the op's name after it
    assert sorted(path.name for path in (tmp_path / "out" / "masks").iterdir()) == ["good.png", "zebra.png"]


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.gif", {}), ("a.webp", {"lossless": True}), ("a.tif", {}), ("a.TIFF", {"compression": "tiff_lzw"})],
)
def test_pictures_that_tensorflow_cannot_decode(tmp_path, name, options):
    exif = Image.Exif()
    exif[0x0112] = 3  # GIF has no EXIF block
    turned = not name.endswith("gif")
    stored = half_white(20, 50)[::-1] if turned else half_white(20, 50)
    save(tmp_path / name, stored, **options, **({"exif": exif} if turned else {}))
    (tmp_path / f"b{name}").write_bytes((tmp_path / name).read_bytes()[:60])
    pictures = predictor.find_pictures(str(tmp_path))
    unreadable = predictor.predict(segment, pictures, str(tmp_path / "out"), LABELS)
    mask = np.array(Image.open(tmp_path / "out" / "masks" / "a.png"))
    np.testing.assert_array_equal(mask, half_white(20, 50)[..., 0] // 255)
    assert list(unreadable) == [str(tmp_path / f"b{name}")]
    assert "damaged" in unreadable[pictures[1]]


def test_sixteen_bit_tiff_is_named(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "deep.tif")
    unreadable = predictor.predict(segment, [str(tmp_path / "deep.tif")], str(tmp_path / "out"), LABELS)
    assert "16 bits a channel; expected 8" in unreadable[str(tmp_path / "deep.tif")]
