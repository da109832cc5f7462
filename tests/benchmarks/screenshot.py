"""Take the README's picture: the first screen of a report page, as a PNG of few colors.

By hand, with playwright and a Chromium:

    python tests/benchmarks/screenshot.py outputs/quickstart/compare/report.html report.png
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from pictures import shrink
from playwright.sync_api import sync_playwright

WIDTH = 1400  # pixels of the viewport
SHARP = 1.5  # pixels of the picture for one of the page
BROWSERS = ("chromium", "chromium-browser", "chrome", "google-chrome")


def take(page: Path, height: int | None) -> bytes:
    """Return the first screen of a page, down to the end of its result, or `height` pixels."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        opened = browser.new_page(
            viewport={"width": WIDTH, "height": 1000}, device_scale_factor=SHARP
        )
        opened.goto(page.resolve().as_uri())
        if height is None:
            box = opened.locator("#result").bounding_box()
            height = 1000 if box is None else round(box["y"] + box["height"] + 24)
        shot = opened.screenshot(
            clip={"x": 0, "y": 0, "width": WIDTH, "height": height}, full_page=True
        )
        browser.close()
    return shot


def main() -> None:
    """Take the picture of the page that is named, and say how large it is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--height", type=int, help="of the page; default: to the result's end")
    options = parser.parse_args()
    picture = shrink(take(options.page, options.height))
    options.output.write_bytes(picture)
    print(f"{options.output}: {len(picture) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
