"""What the page's script does, in a real browser: toggle, hover, zoom, copy, print, reload."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_figures import make_records
from test_report import make_page

from clr_cli.records import TEST_ACCURACY, RateAnswer, read
from clr_cli.report import comparison as report
from clr_cli.report import index, live, rates

REFERENCE = Path(__file__).parents[2] / "outputs" / "reference"

EVIL = "<img src=x onerror=alert(1)>"
ARMS = ("constant", "clr", "cosine", EVIL)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium is installed")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(make_page(make_records(ARMS, seeds=4)), "utf-8")
    return path


@pytest.fixture
def page(browser: Any, file: Path) -> Iterator[Any]:
    opened = browser.new_page(viewport={"width": 1300, "height": 900})
    problems: list[str] = []
    opened.on("console", lambda message: problems.append(message.text))
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("dialog", lambda dialog: problems.append(dialog.message))
    opened.goto(file.as_uri())
    yield opened
    opened.close()
    assert problems == []


def figure(page: Any, title: str) -> Any:
    return page.locator("figure", has=page.locator(f'figcaption b:text-is("{title}.")'))


def middle(page: Any, title: str) -> tuple[float, float, dict[str, float]]:
    """The middle of a figure's axes on the screen, and the axes' box."""
    svg = figure(page, title).locator("svg")
    svg.scroll_into_view_if_needed()
    box = svg.locator('[id$="-axes_1"] > [id$="-patch_2"], [id$="-axes_1"]').first.bounding_box()
    return box["x"] + 0.3 * box["width"], box["y"] + 0.5 * box["height"], box


def test_an_arm_is_hidden_in_figures_and_tables_and_in_the_address(page: Any, file: Path) -> None:
    shown = page.locator('[data-arm="clr"]:visible')
    assert shown.count() > 20
    page.locator('.legend [data-key="clr"]').click()
    assert shown.count() == 0
    assert page.locator('[data-arm="cosine"]:visible').count() > 20
    assert page.url.endswith("#without=clr")
    page.goto("about:blank")
    page.goto(f"{file.as_uri()}#without=clr")
    assert shown.count() == 0
    assert page.locator('[data-key="clr"]').get_attribute("aria-pressed") == "false"
    page.locator('[data-key="clr"]').click()
    assert shown.count() > 20
    assert "#" not in page.url
    page.goto("about:blank")
    page.goto(f"{file.as_uri()}#without=%")  # what no script wrote hides nothing
    assert shown.count() > 20
    assert page.locator("#result .copy").count() == 1


def test_the_pointer_tells_means_and_the_nearest_run(page: Any) -> None:
    x, y, box = middle(page, "Test accuracy")
    told = figure(page, "Test accuracy").locator(".tip")
    assert not told.is_visible()
    page.mouse.move(x, y)
    words = told.inner_text()
    assert words.startswith("Epoch ")
    assert all(arm in words for arm in ARMS)
    assert "%" in words
    for step in range(40):  # from the top to the bottom some run is met
        page.mouse.move(x, box["y"] + step * box["height"] / 40)
        if "nearest: " in told.inner_text():
            break
    seed = told.inner_text().rpartition("seed ")[2]
    assert page.locator(f'tr.lit[data-seed="{seed}"]').count() == 2  # values, and times
    count = "all => new Set(all.map(each => each.ownerSVGElement)).size"
    assert page.locator("svg .lit").evaluate_all(count) >= 4  # figures
    page.mouse.move(5, 5)
    assert not told.is_visible()
    assert page.locator(".lit").count() == 0


def test_arrow_keys_go_from_epoch_to_epoch(page: Any) -> None:
    target = figure(page, "Test accuracy")
    target.locator("svg").focus()
    page.keyboard.press("ArrowRight")
    assert target.locator(".tip").inner_text().startswith("Epoch 1\n")
    page.keyboard.press("ArrowRight")
    assert target.locator(".tip").inner_text().startswith("Epoch 2\n")
    page.keyboard.press("Escape")
    assert not target.locator(".tip").is_visible()


def test_dragging_zooms_and_a_double_click_shows_all(page: Any) -> None:
    target = figure(page, "Test accuracy")
    x, y, _ = middle(page, "Test accuracy")
    line = target.locator("[data-seeds] path").first
    before = line.get_attribute("d")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 90, y + 60)
    page.mouse.up()
    assert line.get_attribute("d") != before
    ticks = target.locator(".ticks text").all_text_contents()
    assert len(ticks) > 4
    assert any("%" in tick for tick in ticks)
    assert target.get_by_text("show all").is_visible()
    page.mouse.dblclick(x, y)
    assert target.locator(".ticks text").count() == 0
    assert not target.get_by_text("show all").is_visible()


def test_an_axis_becomes_logarithmic_and_linear_again(page: Any) -> None:
    target = figure(page, "Test loss")
    target.get_by_text("log / linear").click()
    first = target.locator(".ticks text").all_text_contents()
    target.get_by_text("log / linear").click()
    assert target.locator(".ticks text").all_text_contents() != first


@pytest.mark.parametrize(
    ("form", "start", "row"),
    [
        ("Markdown", "| Schedule | ", "| clr | "),
        ("LaTeX", "\\begin{tabular}{lrrrr}", "clr & "),
        ("TSV", "Schedule\t", "clr\t"),
    ],
)
def test_a_table_is_copied_as_it_is_shown(page: Any, form: str, start: str, row: str) -> None:
    page.locator('[data-key="cosine"]').click()
    page.locator("#result .copy").get_by_text(form).click()
    page.evaluate("document.body.append(document.createElement('textarea'))")
    page.locator("textarea").focus()
    page.keyboard.press("Control+V")
    lines = page.locator("textarea").input_value().splitlines()
    assert lines[0].startswith(start)
    assert sum(line.startswith(row) for line in lines) == 1
    assert not any("cosine" in line for line in lines)


def test_headings_open_and_print_has_them_all(page: Any) -> None:
    closed = page.locator("details:not([open])")
    assert closed.count() > 2
    page.locator("summary", has_text="Every seed").click()
    assert page.locator("#every table").first.is_visible()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert closed.count() == 0


@pytest.mark.parametrize("width", [1400, 1000, 400])
def test_nothing_is_wider_than_the_screen(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(wide) <= 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(page: Any, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page.emulate_media(color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    found = axe.Axe().run(page).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"][:200]) for each in found] == []


def test_without_scripts_everything_is_there(browser: Any, file: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    plain = context.new_page()
    plain.goto(file.as_uri())
    assert plain.locator("table:visible").count() == plain.locator("table").count() > 4
    assert plain.locator("svg:visible").count() == 7
    assert not plain.locator(".legend").is_visible()
    context.close()


def half(running: bool) -> live.Progress:
    rows: list[dict[str, float | None]] = [{"epoch": k, "test_accuracy": k / 9} for k in (1, 2, 3)]
    runs = [
        live.RunState(arm=arm, seed=seed, state=state, total=3, rows=rows)
        for arm in ("constant", "clr")
        for seed, state in enumerate(("finished", "failed", "running"))
    ]
    return live.Progress(
        experiment="digits",
        metric=TEST_ACCURACY,
        baseline="constant",
        arms=["constant", "clr"],
        seeds=[0, 1, 2, 3],
        runs=runs,
        running=running,
    )


def test_a_running_comparison_reads_itself_again(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "RELOAD", 1)
    file = live.write(tmp_path, half(running=True))
    opened = browser.new_page()
    opened.goto(file.as_uri())
    assert opened.get_by_text("Comparison, running").is_visible()
    live.write(tmp_path, half(running=False))
    opened.get_by_text("Comparison, stopped").wait_for(timeout=10_000)
    opened.close()


def test_the_pointer_tells_the_probes_of_a_rate(browser: Any, tmp_path: Path) -> None:
    answer = read(RateAnswer, REFERENCE / "post-20k/range-test/result.json", remedy="")
    probed = max(answer.tried, key=lambda each: len(each.scores))
    scores = [score for score in probed.scores if score is not None]
    file = tmp_path / "report.html"
    file.write_text(rates.page(answer, rates.figures(answer)), "utf-8")
    opened = browser.new_page(viewport={"width": 1300, "height": 900})
    opened.goto(file.as_uri())
    svg = opened.locator("figure svg").first
    box = svg.bounding_box()
    told = set()
    for step in range(200):
        opened.mouse.move(box["x"] + step * box["width"] / 200, box["y"] + 0.5 * box["height"])
        told.add(opened.locator("figure .tip").first.inner_text())
    opened.close()
    start = f"Learning rate {float(f'{probed.rate:.6g}'):g}\nmean "
    found = next(words for words in told if words.startswith(start))
    for end in (min(scores), max(scores)):
        assert f"{float(f'{100 * end:.4g}'):g} %" in found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["live", "running", "rates", "tuned", "index"])
def test_axe_finds_nothing_on_the_other_pages(
    browser: Any, tmp_path: Path, kind: str, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    folder = tmp_path / "digits" / "compare"
    file = live.write(folder, half(running=kind == "running"))
    if kind == "index":
        file = index.write(tmp_path)
    if kind == "tuned":
        summary, records = report.load(REFERENCE / "quickstart-tuned")
        text = report.render(summary, records, report.figures(summary, records))
        file.write_text(text, "utf-8")
    if kind == "rates":
        answer = read(RateAnswer, REFERENCE / "post-20k/range-test/result.json", remedy="")
        file.write_text(rates.page(answer, rates.figures(answer)), "utf-8")
    opened = browser.new_page(color_scheme=scheme, viewport={"width": 1300, "height": 900})
    problems: list[str] = []
    opened.on("console", lambda message: problems.append(message.text))
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.goto(file.as_uri())
    found = axe.Axe().run(opened).response["violations"]
    opened.close()
    assert [(each["id"], each["nodes"][0]["html"][:200]) for each in found] == []
    assert problems == []
