"""A page of HTML, taken apart."""

import re
from html.parser import HTMLParser


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.ids, self.links, self.sources, self.text = [], [], [], [], ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append(tag)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if "href" in found else []
        self.sources += [found["src"]] if "src" in found else []

    def handle_data(self, data):
        self.text += data


def papers_panels(page):
    """The panels that the chapter has a heading for, with what stands under each heading."""
    found = {}
    for heading, body in re.findall(
        r"<h3>((?:Figure|Table) [^<]*)</h3>(.*?)(?=<h3>)", page, re.DOTALL
    ):
        first, *others = heading.partition(":")[0].split(", ")
        kind = first.split()[0]
        for panel in (first, *(f"{kind} {other}" for other in others)):
            found[panel] = body
    return found
