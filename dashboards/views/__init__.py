"""The pages, one file each: widgets, one call, one view.

Not in a folder named `pages`: Streamlit would run its files as scripts of their own when an
address names one before the first session has called `st.navigation`.
"""
