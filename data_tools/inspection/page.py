"""An inspection as one HTML document that needs nothing beside it."""

import base64
import html
import string

from data_tools.inspection.facts import Finding, Inspection
from data_tools.inspection.table import FEW, class_rows, headline, plain, sizes, verdict
from kseg.labels import IGNORE, IGNORE_COLOR, LabelMap

MOST_FILES = 200  # of a finding; 100,000 names would make a page that no browser opens

# The policy lets nothing be fetched or run, even if a name in the data set slipped through as markup.
PAGE = string.Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>
:root { --text: #1c1e21; --back: #fff; --line: #d5d8dc; --soft: #f3f4f6; --error: #b3261e; --warning: #8a5a00; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e4e6ea; --back: #17191c; --line: #3b3f45; --soft: #22252a; --error: #ff8a80; --warning: #f0b84a; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back);
  max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin-top: 2.2rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin-bottom: .3rem; overflow-wrap: anywhere; }
.verdict { font-weight: 600; }
.error { color: var(--error); }
.warning { color: var(--warning); }
.findings { list-style: none; padding: 0; }
.findings > li { margin: .7rem 0; padding: .1rem .9rem; border-left: 4px solid; }
.findings p, .findings ul, .findings details { color: var(--text); margin: .3rem 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .15rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th.text, td.text { text-align: left; }
th.group { text-align: center; }
.swatch { display: inline-block; width: .8em; height: .8em; margin-right: .5em; border: 1px solid #808080;
  print-color-adjust: exact; -webkit-print-color-adjust: exact; }
img { max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
pre { background: var(--soft); padding: .7rem; white-space: pre-wrap; overflow-wrap: anywhere; }
@media print {
  :root { --text: #000; --back: #fff; --line: #bbb; --soft: #f3f4f6; --error: #b3261e; --warning: #8a5a00; }
  body { font-size: 10pt; max-width: none; margin: 0; }
  .wide { overflow: visible; }
  td.text { white-space: normal; overflow-wrap: anywhere; }
  tr, .findings > li { break-inside: avoid; }
  h2, h3, summary { break-after: avoid; }
}
</style>
</head>
<body>
<h1>$title</h1>
<p>$headline</p>
<p class="verdict $level">$verdict</p>
$sections
</body>
</html>
""")


def page(inspection: Inspection, charts: dict[str, bytes]) -> str:
    """The whole inspection as a document.

    Args:
        inspection: of which every text is escaped.
        charts: file name -> PNG, as `charts.draw` returns them; they stand in the document, in this order.

    Returns:
        HTML that encodes as UTF-8, with neither scripts nor references to anything outside.
    """
    findings = inspection.findings
    sections = [_findings(findings), _splits(inspection), _classes(inspection), _charts(charts), _files(inspection)]
    return PAGE.substitute(
        title=escaped(f"Inspection of {inspection.path}"),
        headline=html.escape(headline(inspection)),
        verdict=html.escape(verdict(findings)),
        level=next((finding.level for finding in findings), "none"),
        sections="\n".join(section for section in sections if section),
    )


def escaped(text: str) -> str:
    """`text` as a piece of HTML on one line, for an element or an attribute in quotes."""
    return html.escape(plain(text))


def _findings(findings: tuple[Finding, ...]) -> str:
    """Level, kind and message of each, and its files."""
    items = [
        f'<li class="{finding.level}"><strong>{finding.level}: {escaped(finding.kind)}</strong>'
        f"<p>{escaped(finding.message)}</p>{_names(finding.files)}</li>"
        for finding in findings
    ]
    return "\n".join(["<h2>Findings</h2>", '<ul class="findings">', *items, "</ul>"]) if items else ""


def _names(names: tuple[str, ...]) -> str:
    """A list of files; a long one opens at a click, beneath its first few names."""
    if not names:
        return ""
    shown = "".join(f"<li>{escaped(name)}</li>" for name in names[:MOST_FILES])
    more = len(names) - MOST_FILES
    shown = f"<ul>{shown}{f'<li>and {more} more</li>' if more > 0 else ''}</ul>"
    if len(names) <= FEW:
        return shown
    first = escaped(", ".join(names[:FEW]))
    return f"<details><summary>{first} and {len(names) - FEW} more</summary>{shown}</details>"


def _table(head: list[str], rows: list[str]) -> str:
    lines = ['<div class="wide"><table>', "<thead>", *head, "</thead>", "<tbody>", *rows, "</tbody>", "</table></div>"]
    return "\n".join(lines)


def _row(texts: list[str], figures: list[str]) -> str:
    """A row of cells that are HTML already."""
    cells = [f'<td class="text">{text}</td>' for text in texts] + [f"<td>{figure}</td>" for figure in figures]
    return f"<tr>{''.join(cells)}</tr>"


def _splits(inspection: Inspection) -> str:
    """A row a split: pictures and sizes."""
    if not inspection.splits:
        return ""
    head = ['<tr><th class="text">split</th><th>pictures</th><th>size (width x height)</th></tr>']
    rows = [
        _row([escaped(split)], [str(facts.pictures), escaped(sizes(facts))])
        for split, facts in inspection.splits.items()
    ]
    return f"<h2>Splits</h2>\n{_table(head, rows)}"


def _classes(inspection: Inspection) -> str:
    """A row a class: its colour and name, for every split its share of the labelled pixels and its images."""
    splits = inspection.splits
    if not splits:
        return ""
    names = "".join(f"<th>{escaped(split)}</th>" for split in splits)
    group = f'<th class="group" colspan="{len(splits)}">'
    head = [
        f"<tr><th></th><th></th>{group}share of labelled pixels</th>{group}images with it</th></tr>",
        f'<tr><th class="text">id</th><th class="text">class</th>{names}{names}</tr>',
    ]
    rows = []
    for index, name, shares, images in class_rows(inspection):
        figures = [html.escape(text) for text in shares + images]
        rows.append(_row([str(index), _swatch(index, inspection.labels) + html.escape(name)], figures))
    return f"<h2>Classes</h2>\n{_table(head, rows)}"


def _swatch(index: int, labels: LabelMap) -> str:
    """A little square of a class's colour."""
    red, green, blue = IGNORE_COLOR if index == IGNORE else labels.colors[index]
    return f'<span class="swatch" style="background:rgb({red},{green},{blue})"></span>'


def _charts(charts: dict[str, bytes]) -> str:
    """The pictures, each under its file name made a title."""
    parts = []
    for name, content in charts.items():
        title = escaped(name.removesuffix(".png").replace("_", " ").capitalize())
        data = base64.b64encode(content).decode()
        parts.append(f'<h3>{title}</h3>\n<img alt="{title}" src="data:image/png;base64,{data}">')
    return "\n".join(["<h2>Pictures</h2>", *parts]) if parts else ""


def _files(inspection: Inspection) -> str:
    """The suggested files as they would be written."""
    parts = [
        f"<h3>{escaped(name)}</h3>\n<pre>{escaped_lines(content)}</pre>"
        for name, content in inspection.suggestions.items()
    ]
    return "\n".join(["<h2>Suggested files</h2>", *parts]) if parts else ""


def escaped_lines(text: str) -> str:
    """The same as `escaped` for a text of several lines, which stay lines."""
    return "\n".join(escaped(line) for line in text.split("\n"))
