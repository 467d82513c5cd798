"""Runs: what was computed here, by pages and commands; reopen it, compare two, take one along."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import streamlit as st

from dashboards import state
from workbench import reproduction, runs
from workbench.runs import Record

MOST = 500  # shown; `workbench runs list --limit` has them all
HOW = (
    "Every page that computes and every command leaves a run. Choose one to see all of it, to "
    "open its page again as it was, or to take along a folder that makes it again; choose two to "
    "see what differs."
)


def page() -> None:
    st.header("Runs")
    known = runs.kept()
    if not known:
        st.info("No run is kept yet: open the Attention page and give it a prompt.")
        return
    kinds = sorted({record.kind for _, record in known})
    columns = st.columns([1, 2])
    kind = columns[0].selectbox("Kind", ["all", *kinds], key="kind", bind="query-params")
    words = columns[1].text_input(
        "Only with these words", key="words", bind="query-params", help="In its name or question."
    )
    shown = [one for one in known if kind in ("all", one[1].kind) and words in _line(*one)][:MOST]
    st.caption(f"{len(shown):,} of {len(known):,} runs, newest first. {HOW}")
    chosen = st.dataframe(
        [_row(path, record) for path, record in shown],
        width="stretch",
        height=360,
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        key="runs",
    ).selection.rows
    picked = [shown[row] for row in chosen if row < len(shown)]
    if len(picked) == 1:
        _one(*picked[0])
    elif len(picked) == 2:
        _two(*picked)
    elif picked:
        st.info(f"{len(picked)} runs are chosen; choose one, or two to compare.")


def _row(path: Path, record: Record) -> dict[str, object]:
    return {
        "made": record.made[:19].replace("T", " "),
        "kind": record.kind,
        "model": record.model.get("name", ""),
        "question": runs.told(record),
        "seconds": record.seconds,
        "name": path.stem,
    }


def _line(path: Path, record: Record) -> str:
    return f"{path.stem} {runs.told(record)}"


def _one(path: Path, record: Record) -> None:
    st.subheader(path.stem)
    columns = st.columns([1, 1, 3])
    address = runs.address(record)
    if address is not None:
        columns[0].link_button("Open the page again", f"/{address}", type="primary")
    else:
        st.code(runs.told(record), language="bash")
    fields = runs.flat(asdict(record))
    rows = [{"field": name, "value": str(value)} for name, value in fields.items()]
    st.dataframe(rows, width="stretch", hide_index=True)
    with state.plain_errors():
        packed = reproduction.packed(path, record)
    columns[1].download_button(
        "Take it along (zip)", packed, f"{path.stem}.zip", "application/zip", on_click="ignore"
    )


def _two(one: tuple[Path, Record], other: tuple[Path, Record]) -> None:
    st.subheader("What differs")
    apart = runs.differences(one[1], other[1])
    names = (one[0].stem, other[0].stem)
    rows = [
        {"field": name, **{who: str(value) for who, value in zip(names, values, strict=True)}}
        for name, values in apart.items()
    ]
    st.dataframe(rows, width="stretch", hide_index=True)
