"""The inspection as an HTML document, read by a parser."""

import base64
import html.parser
import re

from data_tools.inspection.facts import Finding, Inspection, SplitFacts
from data_tools.inspection.page import MOST_FILES, page
from kseg.labels import LabelMap

VOID = {"meta", "img", "br"}
HOSTILE = "<script>alert('1')</script>&\"\n\x1b\udcff.jpg"


class Reader(html.parser.HTMLParser):
    """Tags, attributes and texts; every element must be closed in order."""

    def __init__(self, document: str):
        super().__init__()
        self.open, self.tags, self.attributes, self.texts = [], [], [], []
        self.feed(document)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append((self.open[-1], data.strip()))

    def of(self, tag: str) -> list[str]:
        return [text for where, text in self.texts if where == tag]


def inspection(**more) -> Inspection:
    values = {
        "path": "data",
        "labels": LabelMap(("road", "car"), ((1, 2, 3), (250, 0, 0))),
        "splits": {
            "train": SplitFacts(2, ((20, 30), (20, 30)), (75, 25), (2, 1), 100),
            "test": SplitFacts(1, (), (0, 0), (0, 0), 0),
        },
        "findings": (Finding("error", "odd", "something is odd", ("a.jpg", "b.jpg")),),
        "suggestions": {"suggested.flags": "--num_classes=2\n--weights=1,3\n"},
        "samples": {},
    }
    return Inspection(**(values | more))


def test_says_what_the_inspection_says():
    read = Reader(page(inspection(), {}))
    assert read.of("h1") == ["Inspection of data"]
    assert read.of("p") == ["data: 3 pictures in 2 splits, 2 classes", "1 error", "something is odd"]
    assert read.of("strong") == ["error: odd"]
    assert read.of("li") == ["a.jpg", "b.jpg"]
    assert read.of("td") == [
        *("train", "2", "30 x 20", "test", "1", "no readable image"),
        *("0", "road", "75.00%", "-", "2", "-"),
        *("1", "car", "25.00%", "-", "1", "-"),
        *("255", "ignored, of all pixels", "50.00%", "-"),
    ]
    styles = [value for tag, name, value in read.attributes if (tag, name) == ("span", "style")]
    assert styles == ["background:rgb(1,2,3)", "background:rgb(250,0,0)", "background:rgb(224,224,224)"]
    assert read.of("pre") == ["--num_classes=2\n--weights=1,3"]
    assert "details" not in read.tags


def test_charts_stand_in_the_document():
    charts = {"class_shares.png": b"\x89PNG one", "contact_sheet_train.png": bytes(range(256))}
    read = Reader(page(inspection(suggestions={}), charts))
    sources = [value for tag, name, value in read.attributes if (tag, name) == ("img", "src")]
    prefix = "data:image/png;base64,"
    assert [base64.b64decode(source.removeprefix(prefix)) for source in sources] == list(charts.values())
    assert read.of("h3") == ["Class shares", "Contact sheet train"]


def test_nothing_is_fetched_or_run():
    document = page(inspection(), {"sizes.png": b"x"})
    read = Reader(document)
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(read.tags)
    links = [value for _, name, value in read.attributes if name in ("src", "href", "srcset", "action", "data")]
    assert links and all(link.startswith("data:") for link in links)
    assert not re.search(r"https?://|url\(|@import|\son\w+=", document)
    assert ("meta", "content", "default-src 'none'; img-src data:; style-src 'unsafe-inline'") in read.attributes


def test_hostile_names_stay_text():
    document = page(
        inspection(
            path=HOSTILE,
            labels=LabelMap((HOSTILE, "$title"), ((0, 0, 0), (1, 1, 1))),
            splits={HOSTILE: SplitFacts(1, ((1, 1),), (1, 1), (1, 1), 0)},
            findings=(Finding("warning", "kind", HOSTILE, (HOSTILE,) * 5),),
            suggestions={HOSTILE: f"{HOSTILE}\nlast"},
        ),
        {HOSTILE: b""},
    )
    document.encode("utf-8")  # no lone surrogate is left
    read = Reader(document)
    assert "script" not in read.tags
    shown = "<script>alert('1')</script>&\"\\n\\x1b\\udcff.jpg"
    assert read.of("h1") == [f"Inspection of {shown}"]
    assert read.of("li") == [shown] * 5
    assert read.of("th").count(shown) == 2
    assert read.of("pre") == ["<script>alert('1')</script>&\"\n\\x1b\\udcff.jpg\nlast"]
    assert "$title" in read.of("td") and shown in read.of("td")
    assert ("img", "alt", shown.capitalize()) in read.attributes


def test_many_files_open_at_a_click_and_are_bounded():
    files = tuple(f"{index:05}.png" for index in range(MOST_FILES + 300))
    read = Reader(page(inspection(findings=(Finding("warning", "kind", "message", files),)), {}))
    assert read.of("summary") == ["00000.png, 00001.png, 00002.png and 497 more"]
    assert read.of("li") == [*files[:MOST_FILES], "and 300 more"]


def test_forty_findings_keep_their_order():
    findings = tuple(Finding("error" if index < 20 else "warning", f"kind_{index}", "text") for index in range(40))
    read = Reader(page(inspection(findings=findings), {}))
    assert read.of("strong") == [f"{finding.level}: {finding.kind}" for finding in findings]
    assert "20 errors, 20 warnings" in read.of("p")


def test_sections_without_content_are_left_out():
    read = Reader(page(inspection(splits={}, findings=(), suggestions={}), {}))
    assert read.of("h2") == []
    assert read.of("p") == ["data: 0 pictures in 0 splits, 2 classes", "nothing wrong found"]
