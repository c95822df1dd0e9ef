"""Faults as people make them, planted into folders X/ and X_annotation/ of pictures and palette masks.

A fault is a function of a tree, a split and a stem in it, which returns what an inspection must say of it: for each
finding the level, the kind and the files, as paths below the root. Files are replaced, never written into, so that a
tree of hard links can be planted.
"""

import io
import pathlib

import numpy as np
from PIL import Image, ImageEnhance

ORIENTATION = 0x0112
ERROR, WARNING = "error", "warning"


def image_truncated(tree, split, stem):
    path = tree.image(split, stem)
    data = path.read_bytes()
    return [(ERROR, "unreadable_image", tree.put(path, data[: len(data) * 2 // 3]))]


def image_empty(tree, split, stem):
    return [(ERROR, "unreadable_image", tree.put(tree.image(split, stem), b""))]


def image_is_a_web_page(tree, split, stem):
    return [(ERROR, "unreadable_image", tree.put(tree.image(split, stem), b"<html>404 Not Found</html>"))]


def mask_truncated(tree, split, stem):
    path = tree.mask(split, stem)
    return [(ERROR, "unreadable_mask", tree.put(path, path.read_bytes()[:-20]))]


def mask_is_a_jpeg(tree, split, stem):
    grey = Image.fromarray(tree.values(split, stem))
    return [(ERROR, "lossy_mask", tree.put(tree.mask(split, stem), grey, format="JPEG"))]


def mask_was_a_jpeg(tree, split, stem):
    buffer = io.BytesIO()
    Image.fromarray(tree.values(split, stem)).save(buffer, "JPEG", quality=75)
    again = Image.open(buffer)
    return [(ERROR, "blurred_masks", tree.put(tree.mask(split, stem), again))]


def mask_resized_with_interpolation(tree, split, stem):
    values = tree.values(split, stem)
    height, width = values.shape
    small = Image.fromarray(values).resize((width * 2 // 3, height * 2 // 3), Image.Resampling.BILINEAR)
    smoothed = np.array(small.resize((width, height), Image.Resampling.BILINEAR))
    return [(ERROR, "blurred_masks", tree.put_values(split, stem, smoothed))]


def mask_smoothed_in_color(tree, split, stem):
    colored = Image.open(tree.mask(split, stem)).convert("RGB")
    width, height = colored.size
    smoothed = colored.resize((width * 3 // 2, height * 3 // 2), Image.Resampling.BILINEAR).resize((width, height))
    return [(ERROR, "blurred_masks", tree.put(tree.mask(split, stem), smoothed))]


def mask_missing(tree, split, stem):
    tree.mask(split, stem).unlink()
    return [(ERROR, "image_without_mask", tree.names(split, stem)[0])]


def mask_with_another_extension(tree, split, stem):
    tree.mask(split, stem).rename(tree.mask(split, stem).with_suffix(".tif"))
    return [(ERROR, "image_without_mask", tree.names(split, stem)[0])]


def image_missing(tree, split, stem):
    tree.image(split, stem).unlink()
    return [(ERROR, "mask_without_image", tree.names(split, stem)[1])]


def _mask_renamed(tree, split, stem, name):
    old = tree.mask(split, stem)
    old.rename(old.with_name(name))
    image, mask = tree.names(split, stem)
    renamed = str(pathlib.Path(mask).with_name(name))
    return [(ERROR, "image_without_mask", image), (ERROR, "mask_without_image", renamed)]


def name_in_other_case(tree, split, stem):
    return _mask_renamed(tree, split, stem, f"{stem.swapcase()}.png")


def double_extension(tree, split, stem):
    return _mask_renamed(tree, split, stem, f"{stem}.png.png")


def trailing_space(tree, split, stem):
    return _mask_renamed(tree, split, stem, f"{stem} .png")


def twin_of_another_extension(tree, split, stem):
    tree.put(tree.image(split, stem).with_suffix(".jpeg"), tree.photo(split, stem), quality=40)
    return [(ERROR, "repeated_stem", tree.names(split, stem)[0])]


def hidden_files(tree, split, stem):
    for folder in (split, f"{split}_annotation"):
        (tree.root / folder / f"._{stem}.png").write_bytes(b"Mac OS X")
        (tree.root / folder / "Thumbs.db").write_bytes(b"Windows")
    return []


def mask_smaller(tree, split, stem):
    values = tree.values(split, stem)
    return [(ERROR, "size_mismatch", tree.put_values(split, stem, np.ascontiguousarray(values[:-1, :-1])))]


def _turned_by_exif(tree, split, stem, orientation):
    photo, exif = tree.photo(split, stem), Image.Exif()
    exif[ORIENTATION] = orientation
    tree.put(tree.image(split, stem), photo, exif=exif, quality=95)
    return tree.names(split, stem)[1]


def image_lying_by_exif(tree, split, stem):
    return [(ERROR, "size_mismatch", _turned_by_exif(tree, split, stem, 6))]


def image_upside_down_by_exif(tree, split, stem):
    return [(ERROR, "turned_mask", _turned_by_exif(tree, split, stem, 3))]


def mask_mirrored(tree, split, stem):
    mirrored = np.ascontiguousarray(tree.values(split, stem)[:, ::-1])
    return [(ERROR, "turned_mask", tree.put_values(split, stem, mirrored))]


def mask_upside_down(tree, split, stem):
    turned = np.ascontiguousarray(tree.values(split, stem)[::-1])
    return [(ERROR, "turned_mask", tree.put_values(split, stem, turned))]


def mask_of_another_image(tree, split, stem):
    other = min(tree.mask(split, stem).parent.glob("[!.]*.png"), key=lambda path: path.name.lower())
    tree.put(tree.mask(split, stem), other.read_bytes())
    return [(ERROR, "repeated_mask", (tree.names(split, stem)[1], str(other.relative_to(tree.root))))]


def mask_scaled(tree, split, stem):
    values = tree.values(split, stem)
    scaled = np.where(values == 255, 255, values * (250 // tree.num_classes)).astype(np.uint8)
    return [(ERROR, "scaled_masks", tree.put_values(split, stem, scaled))]


def mask_of_16_bits_scaled(tree, split, stem):
    values = tree.values(split, stem).astype(np.uint16)
    return [(ERROR, "scaled_masks", tree.put(tree.mask(split, stem), np.where(values == 255, 255, values * 256)))]


def mask_brought_from_8_to_16_bits(tree, split, stem):
    """As image programs do: 255 becomes 65535."""
    wide = tree.values(split, stem).astype(np.uint16) * 257
    return [(ERROR, "scaled_masks", tree.put(tree.mask(split, stem), wide))]


def mask_of_1_bit(tree, split, stem):
    one = Image.fromarray(tree.values(split, stem) == 1)
    return [(ERROR, "one_bit_masks", tree.put(tree.mask(split, stem), one))]


def mask_counted_from_1(tree, split, stem):
    values = tree.values(split, stem)
    shifted = np.where(values == 255, 255, values + 1).astype(np.uint8)
    return [(ERROR, "unknown_values", tree.put_values(split, stem, shifted))]


def mask_with_a_stray_value(tree, split, stem):
    values = tree.values(split, stem)
    values[10:14, 20:29] = 200
    return [(ERROR, "unknown_values", tree.put_values(split, stem, values))]


def mask_in_rgb(tree, split, stem):
    colored = Image.open(io.BytesIO(tree.mask(split, stem).read_bytes())).convert("RGB")
    return [(ERROR, "rgb_masks", tree.put(tree.mask(split, stem), colored))]


def mask_with_transparency(tree, split, stem):
    colored = Image.open(io.BytesIO(tree.mask(split, stem).read_bytes())).convert("RGBA")
    colored.putalpha(Image.fromarray((tree.values(split, stem) != 0).astype(np.uint8) * 255))
    return [(ERROR, "unusable_mask", tree.put(tree.mask(split, stem), colored))]


def mask_of_other_palette_order(tree, split, stem):
    values, colors = tree.values(split, stem), np.array(tree.palette(split, stem)).reshape(-1, 3)
    order = np.arange(256)
    order[: tree.num_classes] = np.roll(order[: tree.num_classes], 1)
    renumbered = np.argsort(order).astype(np.uint8)[values]
    name = tree.put(tree.mask(split, stem), renumbered, palette=colors[order[: len(colors)]].ravel().tolist())
    return [(ERROR, "palette_order", name)]


def mask_in_grey(tree, split, stem):
    return [(WARNING, "mixed_mask_kinds", tree.put(tree.mask(split, stem), Image.fromarray(tree.values(split, stem))))]


def mask_all_ignored(tree, split, stem):
    empty = np.full_like(tree.values(split, stem), 255)
    return [(WARNING, "all_ignored", tree.put_values(split, stem, empty))]


def mask_never_drawn(tree, split, stem):
    empty = np.zeros_like(tree.values(split, stem))
    return [(WARNING, "constant_mask", tree.put_values(split, stem, empty))]


def image_black(tree, split, stem):
    black = Image.new("RGB", tree.photo(split, stem).size)
    return [(WARNING, "blank_image", tree.put(tree.image(split, stem), black))]


def thumbnail_among_the_images(tree, split, stem):
    image = tree.put(tree.image(split, stem), tree.photo(split, stem).resize((20, 15)))
    small = Image.fromarray(tree.values(split, stem)).resize((20, 15), Image.Resampling.NEAREST)
    tree.put_values(split, stem, np.array(small))
    return [(WARNING, "tiny_image", image)]


def copy_in_its_split(tree, split, stem):
    return _copied(tree, split, stem, split, None, None, WARNING, "duplicate_in_split")


def copy_with_another_mask(tree, split, stem):
    def redrawn(values):
        values[: len(values) // 3] = 0
        return values

    return _copied(tree, split, stem, split, None, redrawn, ERROR, "duplicate_with_other_mask")


def copy_in_another_split(tree, split, stem):
    return _copied(tree, split, stem, "validation", None, None, ERROR, "duplicate_across_splits")


def copy_compressed_anew_in_another_split(tree, split, stem):
    return _copied(tree, split, stem, "validation", lambda photo: photo, None, ERROR, "near_duplicate_across_splits")


def copy_resized(tree, split, stem):
    def small(photo):
        return photo.resize((photo.width // 4 * 3, photo.height // 4 * 3), Image.Resampling.BICUBIC)

    def small_mask(values):
        size = (values.shape[1] // 4 * 3, values.shape[0] // 4 * 3)
        return np.array(Image.fromarray(values).resize(size, Image.Resampling.NEAREST))

    return _copied(tree, split, stem, split, small, small_mask, WARNING, "near_duplicate_in_split")


def copy_brightened(tree, split, stem):
    def brighter(photo):
        return ImageEnhance.Brightness(photo).enhance(1.12)

    return _copied(tree, split, stem, "validation", brighter, None, ERROR, "near_duplicate_across_splits")


def copy_mirrored(tree, split, stem):
    def mirror(photo):
        return photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)

    def mirror_mask(values):
        return np.ascontiguousarray(values[:, ::-1])

    return _copied(tree, split, stem, split, mirror, mirror_mask, WARNING, "near_duplicate_in_split")


def _copied(tree, split, stem, target, change, change_mask, level, kind):
    """A copy "STEM copy" in the split `target`; `change`: photo -> photo, None = the very file; likewise the mask."""
    copy = f"{stem} copy"
    if change is None:
        name = tree.put(tree.image(target, copy), tree.image(split, stem).read_bytes())
    else:
        name = tree.put(tree.image(target, copy), change(tree.photo(split, stem)), quality=75)
    values = tree.values(split, stem)
    changed = values if change_mask is None else change_mask(values)
    tree.put(tree.mask(target, copy), changed, palette=tree.palette(split, stem))
    return [(level, kind, (tree.names(split, stem)[0], name))]


FAULTS = [
    *(mask_brought_from_8_to_16_bits, mask_of_1_bit),
    *(image_truncated, image_empty, image_is_a_web_page, mask_truncated, mask_is_a_jpeg, mask_was_a_jpeg),
    *(mask_resized_with_interpolation, mask_smoothed_in_color, mask_missing, mask_with_another_extension),
    *(image_missing, name_in_other_case, double_extension, trailing_space, twin_of_another_extension, hidden_files),
    *(mask_smaller, image_lying_by_exif, image_upside_down_by_exif, mask_mirrored, mask_upside_down),
    *(mask_of_another_image, mask_scaled, mask_of_16_bits_scaled, mask_counted_from_1, mask_with_a_stray_value),
    *(mask_in_rgb, mask_with_transparency, mask_of_other_palette_order, mask_in_grey, mask_all_ignored),
    *(mask_never_drawn, image_black, thumbnail_among_the_images, copy_in_its_split, copy_with_another_mask),
    *(copy_in_another_split, copy_compressed_anew_in_another_split, copy_resized, copy_brightened, copy_mirrored),
]
