"""Settings of Sphinx: `make docs` turns the pages of this repository, and the library's docstrings, into a site."""

project = "unrolled"
author = "The maintainers of unrolled"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
# The pages stand where they belong, beside what they are of, and so all of the repository is the source.
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs/*.md",
    "examples/*.md",
    "benchmarks/*.md",
    "pipelines/*/README.md",
]
root_doc = "docs/index"
myst_heading_anchors = 3
html_theme = "furo"
html_title = "unrolled"
html_copy_source = False
html_show_copyright = False
default_role = "code"  # what stands between single backticks in docstrings
autodoc_typehints_format = "short"
