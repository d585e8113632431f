"""Tables, figures and the page made of a sweep."""

# Says what to do where matplotlib is missing, before any module here imports it.
from ..analysis import head_plot  # noqa: F401
