"""Flags -> jobs: the pairs of each split, the classes, and how the masks say them."""

import dataclasses
import re
from collections.abc import Mapping

from data_tools.colors import ColorTable, read_colors, read_text
from data_tools.encoding import LABEL_MAP, Encoding, make_encoding, read_label_map
from data_tools.flags import AUTO, SPLIT_CHARACTERS, SPLIT_NAME
from data_tools.pairs import Found, Offered, Place
from data_tools.sources import SOURCES
from data_tools.sources.detect import detect
from data_tools.splitting import read_ratios, split_by_hash
from kseg import storage
from kseg.errors import RunError, UsageError
from kseg.labels import LabelMap
from kseg.registry import find


@dataclasses.dataclass(frozen=True)
class Job:
    """A split: its pairs, and how its masks say their classes (None where the classes are not known)."""

    found: Found
    encoding: Encoding | None


@dataclasses.dataclass(frozen=True)
class Jobs:
    """The splits by name, and the classes they share, or None where nothing says them."""

    labels: LabelMap | None
    splits: Mapping[str, Job]


def find_jobs(config, unnamed: str | None = None) -> Jobs:
    """Looks for the pictures and settles the classes.

    Args:
        config: has the fields of SourceFlags and MaskFlags, checked.
        unnamed: the split's name where neither the layout nor a flag says it; None = it must.

    Raises:
        UsageError: for flags that do not go together, or a file of them that cannot be used.
        RunError: if there is nothing to be found.
    """
    offered = find_splits(config, unnamed)
    table = None if config.colors is None else read_colors(config.colors)
    labels = _labels(config, offered, table)
    encodings = {name: _encoding(config, offered, table, labels, name) for name in offered.splits}
    return Jobs(labels, {name: Job(found, encodings[name]) for name, found in offered.splits.items()})


def find_splits(config, unnamed: str | None = None) -> Offered:
    """What the source of the flags offers, split and named as they say; raises as `find_jobs`."""
    place = Place(config.input, config.images, config.masks, config.split, config.mask_suffix or "", config.label_map)
    offered = find("source", SOURCES, _source(config))(place)
    splits, label_maps = dict(offered.splits), dict(offered.label_maps)
    if config.split_ratio is not None:
        if len(splits) > 1:
            raise UsageError(f"--split_ratio={config.split_ratio}: the layout has its own splits ({', '.join(splits)})")
        ((whole, found),) = splits.items()
        splits = split_by_hash(found, read_ratios(config.split_ratio))
        label_maps = dict.fromkeys(splits, label_maps[whole]) if whole in label_maps else {}
    for name in splits:
        if name and not re.fullmatch(SPLIT_NAME, name):
            raise RunError(f"{config.input}: a split named {name!r}; allowed: {SPLIT_CHARACTERS}; rename its folders")
    if "" in splits:
        if unnamed is None:
            raise UsageError(
                "--split is required: the split's name, as train or validation; or --split_ratio=0.8,0.2 makes two"
            )
        splits = {unnamed: splits[""]}
    return dataclasses.replace(offered, splits=splits, label_maps=label_maps)


def _source(config) -> str:
    if config.source != AUTO:
        return config.source
    if config.input is not None:
        if config.images is not None or config.masks is not None:
            raise UsageError("--input, --images or --masks: both given; allowed: --input, or --images and --masks")
        return detect(config.input)
    if config.images is None or config.masks is None:
        raise UsageError("--input is required, or --images and --masks: where the pictures are")
    return "folders"


def _labels(config, offered: Offered, table: ColorTable | None) -> LabelMap | None:
    """The classes: as named by a flag, else by the table of colours, else by the layout."""
    if config.classes is not None:
        flag = f"--classes={config.classes}"
        labels = LabelMap.from_names_text(read_text(config.classes, flag, "one class name a line"), flag)
    elif config.num_classes is not None:
        labels = LabelMap.numbered(config.num_classes)
    elif table is not None and config.label_map is None:
        return LabelMap(table.names, table.colors)
    else:
        return offered.labels
    if config.classes is not None and table is not None and config.label_map is None and labels.names != table.names:
        raise UsageError(_differing(config, labels, table))
    for known in filter(None, (table, offered.labels)):
        if len(known.names) == labels.num_classes and config.label_map is None:
            names = labels.names if config.classes is not None else known.names
            return LabelMap(names, tuple(known.colors))
    return labels


def _differing(config, labels: LabelMap, table: ColorTable) -> str:
    """What is wrong where the table's classes are not those of --classes: their order is what numbers them."""
    first = next(
        (at for at, names in enumerate(zip(labels.names, table.names, strict=False)) if names[0] != names[1]), None
    )
    if first is None:
        found = f"{labels.num_classes} classes, but {len(table.names)} in the table"
    else:
        found = f"class {first} is {labels.names[first]!r}, but {table.names[first]!r} in the table"
    return (
        f"--classes={config.classes}, --colors={config.colors}: {found}; allowed: the same names in the same order "
        "(name the colours as the classes, or leave --classes out)"
    )


def _encoding(config, offered: Offered, table, labels: LabelMap | None, split: str) -> Encoding | None:
    label_map_file = _label_map_file(config, offered, split)
    label_map = None if label_map_file is None else read_label_map(label_map_file)
    by_hand = label_map is not None or table is not None or bool(config.reduce_zero_label)
    layout = {} if by_hand else dict(offered.encoding)
    if config.reduce_zero_label is not None:
        layout.pop("reduce_zero_label", None)
    if "label_map" in layout and labels.num_classes != offered.labels.num_classes:
        raise UsageError(
            f"--classes, --num_classes: {labels.num_classes} classes, but the layout has {offered.labels.num_classes}; "
            "leave the flag out, or say by --label_map which values they are"
        )
    if labels is None:
        if by_hand:
            raise UsageError("--classes or --num_classes is required with --label_map, --colors or --reduce_zero_label")
        return None
    return make_encoding(
        labels.num_classes,
        label_map=label_map or layout.get("label_map"),
        label_map_file=label_map_file,
        colors=table,
        palette=config.palette,
        ignore_values=config.ignored_values,
        reduce_zero_label=bool(config.reduce_zero_label) or layout.get("reduce_zero_label", False),
        unmapped=config.unmapped,
    )


def _label_map_file(config, offered: Offered, split: str) -> str | None:
    """The label map of a split: the flag's file or folder, else the layout's own."""
    if config.label_map is None:
        return offered.label_maps.get(split)
    if not storage.is_dir(config.label_map):
        return config.label_map
    path = storage.join(config.label_map, LABEL_MAP.format(split=split))
    if not storage.exists(path):
        raise UsageError(f"--label_map={config.label_map}: no {path.rpartition('/')[2]} there; expected one a split")
    return path
