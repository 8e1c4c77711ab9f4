"""A run as one page that needs nothing else: facts, table, curves and pictures in a single HTML file."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1c2733; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; margin: .5rem 0; } th, td { padding: .25rem .9rem .25rem 0; text-align: right; }
th:first-child, td:first-child { text-align: left; } thead th { border-bottom: 2px solid #1c2733; }
tbody tr:first-child { font-weight: 600; } tbody tr { border-bottom: 1px solid #dde3e9; }
img { max-width: 100%; } .note { color: #5a6876; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1.2rem; }
dt { color: #5a6876; } dd { margin: 0; }
"""


def write_report(
    path: Path,
    title: str,
    *,
    facts: Mapping[str, str],
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    notes: Sequence[str],
    figures: Mapping[str, Figure],
) -> None:
    """Write one HTML file that holds its pictures.

    Args:
        facts: name and value of what the reader needs to repeat the run.
        header, rows: the table; the first row is set in bold.
        notes: sentences under the table.
        figures: heading and picture, in order.
    """
    parts = [f"<h1>{html.escape(title)}</h1>", "<dl>"]
    parts += [f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in facts.items()]
    parts += ["</dl>", "<h2>Errors</h2>", _table(header, rows)]
    parts += [f'<p class="note">{html.escape(note)}</p>' for note in notes]
    for heading, figure in figures.items():
        parts += [f"<h2>{html.escape(heading)}</h2>", f'<img alt="{html.escape(heading)}" src="{_inline(figure)}">']
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    text = f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(parts) + "\n</body></html>\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "\n".join(line(row, "td") for row in rows)
    return f"<table><thead>{line(header, 'th')}</thead>\n<tbody>{body}</tbody></table>"


def _inline(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
