"""How the site is built: ``python -m sphinx -W --keep-going -n docs docs/_build/html``, from the root of the sources.

Nothing is downloaded: links into the documentation of other projects are made only where ``ALSX_INTERSPHINX=1`` asks for them.
The same sources give the same bytes, so nothing that a clock says is on a page.
"""

import os
import sys
import warnings
from pathlib import Path

import matplotlib as mpl

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT), str(DOCS / "_ext")]
mpl.use("agg")

from archives import forget_times  # noqa: E402
from figures import figures_of  # noqa: E402
from members import documented  # noqa: E402
from sources import include_sources  # noqa: E402

import alsx  # noqa: E402

project = "alsx"
author = "The alsx developers"
copyright = author
version = release = alsx.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "formulas",
    "numpydoc",
    "myst_parser",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "_ext", "_tables", "gallery/*.ipynb", "gallery/*.py", "Thumbs.db"]
root_doc = "index"
nitpicky = True
nitpick_ignore_regex = [
    # What belongs to others, whose inventories are not downloaded.
    ("py:.*", r"(sklearn|numpy|scipy|matplotlib|pandas|polars|pyarrow|logging|arviz)(\..*)?"),
    # Arguments and fields, which are no targets. What is named with its module must be there.
    ("py:obj", r"[A-Za-z_]\w*"),
]
# A name between single backquotes is a link where it is something public, and else an argument.
default_role = "py:obj"

# ---------------------------------------------------------------------------------------------------------------------
# Reference

autosummary_generate = True
ESTIMATORS = [f"alsx.{name}" for name in ("BiasALS", "FactorALS", "RankALS", "BayesALS", "FactorEncoder")]
autosummary_context = {"documented": documented, "with_gallery": ESTIMATORS}
autodoc_typehints = "none"  # the sections of a docstring say the types, in words
suppress_warnings = ["config.cache"]  # functions in the configuration
numpydoc_show_class_members = False  # the template of a class lists them
numpydoc_class_members_toctree = False
numpydoc_validation_checks = {  # all but these
    "all",
    "ES01",  # not every function needs more than its summary
    "EX01",  # small ones have their example where they are used
    "SA01",  # "See Also" only where there is something else to see
    "SA04",
    "GL01",  # summaries are on the first line
    "GL08",  # members inherited from scikit-learn
    "SS03",  # a summary may end with a colon or with none
    "SS05",  # "Return", "Predict": an imperative; it takes nouns such as "Biases" for verbs
    "SS06",  # a summary may run over a line
    "PR01",  # several parameters may share an entry, which it does not see
    "PR02",
    "PR03",
    "PR04",  # entries that repeat an argument of another function name it instead of a type
    "PR06",
    "PR07",
    "PR08",  # a description may begin with a figure or a name
    "PR09",
    "RT01",  # generators have "Yields"
    "RT02",  # what is returned has a name
    "RT03",
    "RT04",
    "RT05",
    "YD01",
}
numpydoc_validation_exclude = {
    r"^sklearn\.",
    r"\.Score\.(real|imag|hex|fromhex|as_integer_ratio|conjugate|is_integer)$",
    r"\.CSR\.(index|count)$",
}

# ---------------------------------------------------------------------------------------------------------------------
# Pages in Markdown

myst_enable_extensions = ["colon_fence", "dollarmath", "deflist", "attrs_inline"]
myst_heading_anchors = 3
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True

# ---------------------------------------------------------------------------------------------------------------------
# Examples

sphinx_gallery_conf = {
    "examples_dirs": [str(ROOT / "examples")],
    "gallery_dirs": ["gallery"],
    "filename_pattern": r"\.py$",
    "ignore_pattern": r"(__init__|picture)\.py",  # picture.py writes a file; plot_map.py shows it
    "capture_repr": (),
    "image_scrapers": (figures_of,),
    "reset_modules": (),
    "doc_module": ("alsx",),
    "backreferences_dir": "generated/backreferences",
    "reference_url": {"alsx": None},
    "within_subsection_order": "FileNameSortKey",
    "default_thumb_file": str(DOCS / "_static" / "example.png"),
    "download_all_examples": False,  # an archive holds the times of its files
    "write_computation_times": False,
    "min_reported_time": 1e9,
    "show_memory": False,
    "show_signature": False,
    "abort_on_example_error": True,
    "remove_config_comments": True,
}
# Modules of a gallery's script run as __main__, whose pickles and warnings are nobody's business here.
warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")

# ---------------------------------------------------------------------------------------------------------------------
# Other projects

if os.environ.get("ALSX_INTERSPHINX") == "1":
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "scipy": ("https://docs.scipy.org/doc/scipy", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
    }

# ---------------------------------------------------------------------------------------------------------------------
# Looks

html_math_renderer = "mathml"
html_theme = "pydata_sphinx_theme"
html_title = "alsx"
html_static_path = ["_static"]
html_css_files = ["alsx.css"]
html_favicon = "_static/favicon.svg"
templates_path = ["_templates"]
html_copy_source = False
html_show_sourcelink = False
html_last_updated_fmt = None
html_theme_options = {
    "logo": {"text": "alsx", "image_light": "_static/favicon.svg", "image_dark": "_static/favicon.svg"},
    "header_links_before_dropdown": 7,
    "navbar_align": "left",
    "navbar_persistent": ["search-button"],
    "navbar_end": ["theme-switcher"],
    "search_as_you_type": True,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {
    "index": [],
    "start": [],
    "accuracy": [],
    "speed": [],
    "faq": [],
    "changelog": [],
    "command_line": [],
    "coming_from/*": [],
}


def setup(app):
    """Connect what is done to each page, and to what is downloaded."""
    app.connect("source-read", include_sources)
    app.connect("build-finished", forget_times)
