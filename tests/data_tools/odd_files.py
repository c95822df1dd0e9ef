"""Things that lie among pictures and are no files, or lead to none."""

import os
import pathlib
import socket

from hostile import GOOD_IMAGE, GOOD_MASK


def write_oddities(folder: pathlib.Path) -> list[str]:
    """Things in FOLDER/images and FOLDER/masks that are no files, or lead to none; their stems. Each has a partner."""
    images, masks, stems = folder / "images", folder / "masks", []

    def add(stem: str, make, is_mask: bool = False) -> None:
        path = (masks if is_mask else images) / f"{stem}.png"
        make(path)
        partner = (images / f"{stem}.jpg") if is_mask else (masks / f"{stem}.png")
        partner.write_bytes(GOOD_IMAGE if is_mask else GOOD_MASK)
        stems.append(stem)

    def bind(path: pathlib.Path) -> None:
        here = os.open(path.parent, os.O_RDONLY)  # by a short name: a socket's path has 108 bytes at most
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"/proc/self/fd/{here}/{path.name}")
        os.close(here)

    for is_mask, prefix in ((False, "odd"), (True, "odd-mask")):
        add(f"{prefix}-pipe", os.mkfifo, is_mask)
        add(f"{prefix}-socket", bind, is_mask)
        add(f"{prefix}-folder", lambda path: path.mkdir(), is_mask)
        add(f"{prefix}-link-loop", lambda path: path.symlink_to(path), is_mask)
        add(f"{prefix}-link-to-nothing", lambda path: path.symlink_to("nowhere"), is_mask)
        add(f"{prefix}-link-to-folder", lambda path: path.symlink_to(folder), is_mask)
        add(f"{prefix}-device", lambda path: path.symlink_to("/dev/zero"), is_mask)
        add(f"{prefix}-hole", _hole, is_mask)
    return stems


def _hole(path: pathlib.Path) -> None:
    """100 GB of nothing, which take no room on the disk."""
    path.touch()
    os.truncate(path, 10**11)
