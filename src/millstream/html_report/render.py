"""The whole page: one file without scripts, which asks nothing of anyone."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from importlib.resources import files

from millstream import destinations
from millstream.common.text import quantity
from millstream.config import PipelineConfig
from millstream.html_report import columns
from millstream.html_report.diagram import diagrams
from millstream.html_report.gather import StreamHistory
from millstream.html_report.markup import Markup, element, join, sentence
from millstream.html_report.plots import bars
from millstream.html_report.timeline import moment, timeline

UNFOLDED = 3
"""So many tables show their columns at once; of more, each is folded."""


def render(config: PipelineConfig, streams: Sequence[StreamHistory], made_at: datetime) -> str:
    """The page of a pipeline.

    Args:
        made_at: written below the title, in UTC.
    """
    style = files("millstream.html_report").joinpath("style.css").read_text(encoding="utf-8")
    head = element(
        "head",
        Markup('<meta charset="utf-8">'),
        # what a browser may do with this page: show it, in this very style
        Markup(
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
            f"style-src 'sha256-{_digest(style)}'; base-uri 'none'; form-action 'none'\">"
        ),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup('<meta name="referrer" content="no-referrer">'),
        element("title", f"{config.name}: schema and loads"),
        element("style", Markup(style)),
    )
    body = element(
        "body",
        _header(config, streams, made_at),
        element(
            "main",
            _section("tables", "Tables", *_drawings(streams)),
            _section("loads", "Loads", *(_loads(stream, made_at) for stream in streams)),
            _section(
                "changes",
                "Changes",
                timeline([row for stream in streams for row in stream.changes]),
            ),
            _section("columns", "Columns", *_columns(streams)),
        ),
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _digest(style: str) -> str:
    return b64encode(sha256(style.encode()).digest()).decode()


def _header(config: PipelineConfig, streams: Sequence[StreamHistory], made_at: datetime) -> Markup:
    tables = [table for stream in streams for table in stream.schema.tables]
    changes = [row for stream in streams for row in stream.changes]
    figures = {
        "streams": len(streams),
        "tables": len(tables),
        "columns": sum(len(table.columns) for table in tables),
        "changes": len(changes),
        "risky or breaking": sum(row["severity"] != "safe" for row in changes),
    }
    dataset = destinations.dataset_name(config)
    where = f"{config.destination.type}, dataset {dataset}; {moment(made_at)}"
    return element(
        "header",
        element("h1", config.name),
        element("p", where, class_="dim"),
        element(
            "dl",
            *(
                element("div", element("dt", name), element("dd", f"{number:,}"))
                for name, number in figures.items()
            ),
            class_="figures",
        ),
        element(
            "nav",
            *(
                element("a", name.capitalize(), href=f"#{name}")
                for name in ("tables", "loads", "changes", "columns")
            ),
        ),
    )


def _section(name: str, title: str, *parts: object) -> Markup:
    return element("section", element("h2", title), *parts, id=name)


def _drawings(streams: Sequence[StreamHistory]) -> list[Markup]:
    drawn = [
        element("div", drawing, class_="drawing")
        for stream in streams
        for drawing in diagrams(
            stream.schema, {name: rows for name, rows in stream.rows.items() if rows is not None}
        )
    ]
    return [
        element("div", *drawn, class_="drawings"),
        element("p", "Rows are those that the tables hold.", class_="dim"),
    ]


def _loads(stream: StreamHistory, made_at: datetime) -> Markup:
    title = element("h3", element("code", stream.name))
    waiting = _pending(stream)
    if not stream.loads:
        return join(title, element("p", "None recorded."), waiting)
    moments = [load.started_at for load in stream.loads]
    missing = [package.extracted_at for package in stream.pending]
    rows = [load.rows for load in stream.loads]
    seconds = [load.seconds for load in stream.loads]
    return join(
        title,
        element(
            "div",
            bars("rows loaded", rows, moments, made_at, lambda n: f"{n:,.0f}", missing),
            bars("seconds", seconds, moments, made_at, _seconds, missing),
            class_="plots",
        ),
        waiting,
    )


def _pending(stream: StreamHistory) -> Markup | None:
    """What was read on this machine and not loaded, with the reason."""
    if not stream.pending:
        return None
    return element(
        "ul",
        *(
            element(
                "li",
                element("span", package.status, class_="tag risky"),
                f"{moment(package.extracted_at)}, "
                f"{quantity(package.row_count, 'row')} not loaded: ",
                sentence(package.reason.splitlines()[0]),
            )
            for package in stream.pending
        ),
    )


def _seconds(number: float) -> str:
    return f"{number:,.0f} s" if number >= 10 else f"{number:.1f} s"


def _columns(streams: Sequence[StreamHistory]) -> list[Markup]:
    count = sum(len(stream.schema.tables) for stream in streams)
    return [
        columns.table(table, stream.presence, unfolded=count <= UNFOLDED)
        for stream in streams
        for table in stream.schema.tables
    ]
