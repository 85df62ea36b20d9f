"""The bricks of an HTML page that stands alone: its frame and style, tables, facts, bars, pictures as data URIs.

Every function takes plain text and gives HTML, escaped; `Html` marks what is HTML already.
"""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from clf_train.report.plots import DPI

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1d21; --soft: #5c626c; --line: #e2e4e8; --page: #ffffff; --bar: #8fb3e8;
  --accent: #1f5fbf; --wrong: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ececec; --soft: #a2a7b0; --line: #303236; --page: #121212; --bar: #3d6cb3; --accent: #8ab4f8;
    --wrong: #ff8a80; }
  .plot img { filter: invert(.93) hue-rotate(180deg); }  /* white becomes the page's #121212, blue stays blue */
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 1.5rem; -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, "Segoe UI", sans-serif;
  overflow-wrap: break-word; }
.frame { max-width: 64rem; margin: 0 auto; padding: 2rem 1.25rem 5rem; }
h1, h2, h3 { line-height: 1.2; letter-spacing: -.01em; text-wrap: balance; }
h1 { font-size: 1.75rem; margin: 0 0 .25rem; }
h2 { font-size: 1.3rem; margin: 2.75rem 0 .75rem; }
h3 { font-size: 1.1rem; margin: 2.5rem 0 .6rem; }
article > h2 { font-size: 1.75rem; margin: 5rem 0 .25rem; padding-top: 1.5rem; border-top: 2px solid var(--ink); }
p { margin: .5rem 0; max-width: 46rem; }
.soft, figcaption { color: var(--soft); }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }

nav { font-size: .9rem; margin: 1.25rem 0 0; padding: .5rem 0; border: solid var(--line); border-width: 1px 0; }
nav ul { list-style: none; margin: 0; padding: 0; display: flex; flex-wrap: wrap; gap: 0 1.1rem; }
nav li:has(ul) { flex-basis: 100%; display: flex; gap: 0 1.1rem; }
nav a { display: inline-block; padding: .15rem 0; }
nav .group { font-weight: 600; min-width: 3.5rem; }

.lead { display: flex; flex-wrap: wrap; gap: 1rem 3rem; align-items: center; margin: 1.75rem 0 0; }
.big { font-size: 3.5rem; font-weight: 650; line-height: 1; letter-spacing: -.03em; margin: 0;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
.big + p { margin: .4rem 0 0; }
.key { flex: 1 1 22rem; display: grid; grid-template-columns: repeat(3, 1fr); gap: .9rem 1.5rem; margin: 0; }
.key dt { color: var(--soft); font-size: .8rem; } .key dd { margin: 0; font-variant-numeric: tabular-nums; }

.wide, figure { margin: 1rem 0; overflow-x: auto; }
figure img { display: block; max-width: 100%; height: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .95rem; }
th, td { padding: .3rem .8rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: baseline; }
th:first-child, td:first-child { padding-left: 0; }
thead th { color: var(--soft); font-weight: 500; font-size: .82rem; vertical-align: bottom; }
tbody th { font-weight: 500; }
.n { text-align: right; white-space: nowrap; } thead .n { white-space: normal; }
.bar { min-width: 7rem; padding-left: 0; width: 14rem; }
.bar i { display: block; height: .6rem; border-radius: 2px; background: var(--bar); min-width: 1px; }
.best { font-weight: 700; }
.wrong { color: var(--wrong); }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(19rem, 100%), 1fr)); gap: 0 3rem; }
.facts table { width: 100%; } caption { text-align: left; font-weight: 600; padding: .5rem 0; }
.facts th { color: var(--soft); font-weight: 400; white-space: nowrap; width: 1%; }
.facts td { overflow-wrap: anywhere; }

@media (min-width: 72rem) {
  .nested { max-width: 80rem; display: grid; grid-template: "nav header" auto "nav main" 1fr / 11rem minmax(0, 1fr);
    column-gap: 3.5rem; }
  .nested > header { grid-area: header; } .nested > main { grid-area: main; }
  .nested > nav { grid-area: nav; position: sticky; top: 2rem; align-self: start; max-height: calc(100vh - 4rem);
    overflow-y: auto; border: 0; margin: 0; padding: .3rem 0; }
  .nested > nav ul, .nested > nav li:has(ul) { display: block; }
  .nested > nav ul ul { padding-left: 1rem; margin-bottom: .75rem; }
}
@media (max-width: 40rem) {
  .frame { padding-top: 1.25rem; } .big { font-size: 3rem; } .key { grid-template-columns: repeat(2, 1fr); }
  table { font-size: .88rem; } th, td { padding: .3rem .35rem; } .bar { min-width: 2.2rem; width: 4rem; }
}
@media print { nav { display: none; } figure, tr { break-inside: avoid; } }
"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<div class="frame{nested}">
{body}
</div>
</body>
</html>
"""


class Html(str):
    """Text that is HTML already, and is not escaped again."""


@dataclass(frozen=True)
class Section:
    """A part of a page: the anchor that leads to it, its heading, what stands in it, and the parts below it."""

    anchor: str
    title: str
    body: Html
    parts: tuple["Section", ...] = ()


def page(title: str, head: Html, sections: Sequence[Section]) -> str:
    """A whole page: its heading, contents that lead to every section, and the sections."""
    nested = " nested" if any(section.parts for section in sections) else ""
    header = f"<header><h1>{escape(title)}</h1>\n{head}</header>"
    main = "\n".join(_section(section, 2) for section in sections)
    body = f"{header}\n<nav>{_contents(sections)}</nav>\n<main>{main}</main>"
    return _PAGE.format(title=escape(title), style=_STYLE, nested=nested, body=body)


def _contents(sections: Sequence[Section]) -> str:
    items = (
        f'<li><a{" class=group" if s.parts else ""} href="#{escape(s.anchor)}">{escape(s.title)}</a>'
        f"{_contents(s.parts) if s.parts else ''}</li>"
        for s in sections
    )
    return f"<ul>{''.join(items)}</ul>"


def _section(section: Section, level: int) -> str:
    tag = "article" if section.parts else "section"
    parts = "\n".join(_section(part, level + 1) for part in section.parts)
    heading = f"<h{level}>{escape(section.title)}</h{level}>"
    return f'<{tag} id="{escape(section.anchor)}">{heading}\n{section.body}\n{parts}</{tag}>'


def text(content: str) -> Html:
    """Text as HTML; what is HTML already stays as it is."""
    return content if isinstance(content, Html) else Html(escape(content))


def paragraph(content: str, kind: str = "") -> Html:
    """A paragraph."""
    return Html(f"<p{_kind(kind)}>{text(content)}</p>")


def figure(share: str, of_what: str) -> Html:
    """One figure in large type, and below it what it is a figure of."""
    return Html(f'<div><p class="big">{text(share)}</p>{paragraph(of_what, "soft")}</div>')


def lead(figures: Iterable[Html], facts: Iterable[tuple[str, str]] = ()) -> Html:
    """Large figures, and key facts beside them."""
    pairs = "".join(f"<div><dt>{text(name)}</dt><dd>{text(fact)}</dd></div>" for name, fact in facts)
    key = f'<dl class="key">{pairs}</dl>' if pairs else ""
    return Html(f'<div class="lead">{"".join(figures)}{key}</div>')


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its text, and how it is set: `n` to the right, `bar`, `best`, `wrong`, or several of these."""

    text: str
    kind: str = ""


def number(content: str, kind: str = "") -> Cell:
    """A cell that is set to the right, as numbers are."""
    return Cell(content, f"n {kind}".strip())


def bar(share: float | None) -> Cell:
    """A cell with a bar as long as a share in 0..1; empty for None."""
    return Cell(Html("" if share is None else f'<i style="width:{100 * share:.1f}%"></i>'), "bar")


def table(heading: Sequence[Cell | str], rows: Iterable[Sequence[Cell | str]], caption: str = "") -> Html:
    """A table; the first cell of each row names the row. One that is too wide for the page can be moved sideways."""

    def cell(content: Cell | str, tag: str) -> str:
        content = content if isinstance(content, Cell) else Cell(content)
        return f"<{tag}{_kind(content.kind)}>{text(content.text)}</{tag}>"

    above = f"<caption>{text(caption)}</caption>" if caption else ""
    head = f"<thead><tr>{''.join(cell(c, 'th') for c in heading)}</tr></thead>" if heading else ""
    body = "".join(f"<tr>{''.join(cell(c, 'td' if i else 'th') for i, c in enumerate(row))}</tr>" for row in rows)
    return Html(f'<div class="wide"><table>{above}{head}<tbody>{body}</tbody></table></div>')


def fact_tables(tables: Iterable[tuple[str, Iterable[tuple[str, str]]]]) -> Html:
    """Small tables of names and values under their titles, side by side, or below each other where there is no room."""
    inner = "".join(f'<div class="facts">{table((), facts, title)}</div>' for title, facts in tables)
    return Html(f'<div class="columns">{inner}</div>')


def picture(file: Path, description: str, plot: bool = True) -> Html:
    """A PNG, inside the page, as large as it was drawn. A `plot`, black on white, is turned around on a dark screen."""
    data = file.read_bytes()
    width, height = (round(int.from_bytes(data[i : i + 4], "big") * 96 / DPI) for i in (16, 20))  # of the PNG's IHDR
    encoded = base64.b64encode(data).decode()
    return Html(
        f'<figure{_kind("plot" if plot else "")}><img src="data:image/png;base64,{encoded}" width="{width}" '
        f'height="{height}" style="min-width:{min(width, 640)}px" alt="{escape(description)}"></figure>'
    )


def _kind(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
