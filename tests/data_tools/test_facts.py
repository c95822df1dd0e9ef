from data_tools.inspection.facts import PictureFacts, SplitFacts


def classes(*pixels: int, ignored: int = 0) -> tuple[int, ...]:
    return (*pixels, *[0] * (255 - len(pixels)), ignored)


def test_figures_of_a_split():
    pictures = [
        PictureFacts("train", "a", size=(3, 4), classes=classes(5, 0, 7)),
        PictureFacts("train", "b", size=(3, 4), classes=classes(1, 0, 2, ignored=9)),
        PictureFacts("train", "c", size=(6, 8)),  # its mask cannot be read
        PictureFacts("train", "d", classes=classes(0, 0, 1)),  # its image cannot
    ]
    facts = SplitFacts.of(pictures, 3)
    assert facts == SplitFacts(4, ((3, 4), (3, 4), (6, 8)), (6, 0, 10), (2, 0, 3), 9)
    assert SplitFacts.of([], 2) == SplitFacts(0, (), (0, 0), (0, 0), 0)


def test_names_for_messages():
    assert PictureFacts("train", "a", "i/a.jpg", "m/a.png").image_name == "i/a.jpg"
    assert PictureFacts("train", "a", "i/a.jpg", "m/a.png").mask_name == "m/a.png"
    assert PictureFacts("train", "s record 3 (a)").mask_name == "s record 3 (a)"
