"""HTML -> its text, as a browser would set it without styles: tags, scripts and styles left out, entities read."""

import codecs
import re
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser

# What begins and ends a paragraph, and what begins and ends a line.
PARAGRAPHS = {"p", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "pre", "ul", "ol", "dl", "table", "hr", "form"}
PARAGRAPHS |= {"section", "article", "aside", "header", "footer", "nav", "main", "figure", "fieldset", "address"}
LINES = {"br", "div", "li", "dt", "dd", "tr", "caption", "figcaption", "option", "summary", "details"}
NO_TEXT = {"script", "style", "template", "noscript", "svg", "math", "head", "select", "textarea", "iframe", "object"}
PAGES = (".html", ".htm", ".xhtml")  # how their names end
# What browsers read pages with that name these, as most that do were written with (WHATWG, Encoding Standard).
MEANT = {
    "iso8859-1": "cp1252",
    "ascii": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "gb2312": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
}
CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.I)


def text_of(blocks: Iterable[str]) -> Iterator[str]:
    """The text of a page that comes block by block, likewise; a blank line stands between paragraphs."""
    page = _Page()
    for block in blocks:
        page.feed(block)
        yield page.taken()
    page.close()
    yield page.taken()


def declared(head: bytes) -> str | None:
    """The encoding that a page's first bytes name; None where they name none that there is, or that they are not in."""
    found = CHARSET.search(head)
    try:
        name = codecs.lookup(found[1].decode()).name if found else ""
        "a".encode(name)  # base64 is a codec, and no encoding of text
    except (LookupError, ValueError):
        return None
    return None if name.startswith(("utf-16", "utf-32")) else MEANT.get(name, name)


class _Page(HTMLParser):
    """White space is one blank, but within <pre>; none stands at a line's beginning."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._parts: list[str] = []
        self._left_out: list[str] = []  # the tags within which nothing is text
        self._preformatted = 0
        self._begun = self._blank = False  # of the line

    def taken(self) -> str:
        text, self._parts = "".join(self._parts), []
        return text

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._left_out or tag in NO_TEXT:
            if tag in NO_TEXT:
                self._left_out.append(tag)
            if tag == "body":  # a head that was never closed
                self._left_out.clear()
            return
        self._break(tag)
        self._preformatted += tag == "pre"
        if tag in ("td", "th") and self._begun:
            self._blank = True

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in NO_TEXT:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._left_out:
            while self._left_out.pop() != tag:
                pass
        elif not self._left_out:
            self._preformatted -= tag == "pre" and self._preformatted > 0
            self._break(tag)

    def handle_data(self, data: str) -> None:
        if self._left_out:
            return
        if self._preformatted:
            self._parts.append(data)
            self._begun, self._blank = not data.endswith("\n"), False
            return
        words = data.split()
        if not words:
            self._blank |= self._begun and bool(data)
            return
        before = " " if self._begun and (self._blank or data[0].isspace()) else ""
        self._parts.append(before + " ".join(words))
        self._begun, self._blank = True, data[-1].isspace()

    def _break(self, tag: str) -> None:
        if tag in PARAGRAPHS or tag in LINES:
            self._parts.append("\n\n" if tag in PARAGRAPHS else "\n" if self._begun or tag == "br" else "")
            self._begun = self._blank = False
