"""Build the page template of `dvc plots`, .dvc/plots/offline.html, with the plotting scripts inside.

DVC's own page loads them from a public server, so that without a network it stays blank. Run by `make`'s set-up."""

import os
from pathlib import Path

import vl_convert

PAGE = """<!DOCTYPE html>
<html>
<head>
    <meta charset="utf-8">
    {refresh_tag}
    <title>unrolled</title>
    <script>(function () {BUNDLE})();</script>
    <style>body { font-family: sans-serif; } table { border-spacing: 15px; }</style>
</head>
<body>
    {plot_divs}
</body>
</html>
"""


def page() -> str:
    """The template: DVC fills {refresh_tag} and {plot_divs}, and has no {scripts} to fill."""
    # A closing tag within the script would end it.
    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace("</script", "<\\/script")
    return PAGE.replace("BUNDLE", "{" + bundle + "}")


def main() -> None:
    target = Path(__file__).parent.parent / ".dvc" / "plots" / "offline.html"
    part = target.with_suffix(".part")
    part.write_text(page(), encoding="utf-8")
    os.replace(part, target)


if __name__ == "__main__":
    main()
