"""Canvas views that Plotly cannot draw fast enough: many attention heads, a lens table."""

from .attention import attention_canvas
from .lens import RankCurve, lens_canvas
from .wire import TokenLabel

__all__ = ["RankCurve", "TokenLabel", "attention_canvas", "lens_canvas"]
