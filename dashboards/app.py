"""The dashboard's main script: navigation over the plugins' pages. Imports nothing heavy."""

import streamlit as st

from dashboards import limits, state, study, tour
from dashboards.navigation import pages, sections
from dashboards.preload import preload

# Streamlit leaves 6rem above the title; a workbench needs the room. The sidebar shows all pages and
# the model's box within 800 pixels.
# Captions, and white on the dark theme's primary colour, are below what WCAG AA asks of contrast.
# Segmented controls, tables and the page's scrolling area do not show that they have the focus.
STYLE = """<style>
.stMainBlockContainer{padding-top:2.5rem;padding-bottom:2rem}
a[data-testid=stSidebarNavLink]{padding-block:0;margin-block:0;line-height:1.5rem}
header[data-testid=stNavSectionHeader]{margin-top:0;padding-block:.2rem 0}
div[data-testid=stSidebarHeader]{height:2.2rem}
div[data-testid=stCaptionContainer]{color:inherit;opacity:.8}
button[data-testid=stBaseButton-primary],a[data-testid=stBaseLinkButton-primary]{
  color:light-dark(#fff,#000)
}
:is(main,canvas,button[data-variant]):focus-visible{outline:auto}
</style>"""


def main() -> None:
    """Draw the page that the address names, then start loading what pages will need."""
    st.set_page_config(page_title="lensbench", page_icon="🔬", layout="wide")
    st.html(STYLE)
    opened = st.navigation(sections(pages()), expanded=True)
    limits.check()
    study.link(opened.title)
    state.show_as(opened.title, opened.url_path)
    tour.banner(opened.title)
    opened.run()
    preload()


if __name__ == "__main__":
    main()
