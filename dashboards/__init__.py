"""The local dashboard: Streamlit lives here and nowhere else."""
