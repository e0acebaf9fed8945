"""The report in headless Chromium: every figure drawn, nothing wrong on the console, readable wide and narrow."""

import shutil

import pytest

from langchain_avengers.evaluation.report import write_report
from tests.unit_tests.evaluation.synthetic import fitted, make_table

pytest.importorskip("matplotlib", reason="the report's figures need the extra plots")
playwright = pytest.importorskip("playwright.async_api", reason="the browser is driven by playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (Debian package chromium)")

FIGURES = ("standings", "tasks", "heat", "map", "k", "front", "traffic", "calls", "votes", "drift")
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
VIEWS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    table, vectors = make_table(150, seed=1)
    out = tmp_path_factory.mktemp("report") / "report.html"
    write_report(fitted(), table, out, vectors=vectors)
    return out


@pytest.fixture(scope="module")
async def browser():
    async with playwright.async_playwright() as driver:
        running = await driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield running
        await running.close()


async def _open(browser, page_file, width, scheme):
    context = await browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = await context.new_page()
    trouble: list[str] = []
    page.on("console", lambda message: trouble.append(message.text) if message.type != "log" else None)
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on(
        "request", lambda request: trouble.append(request.url) if request.url != page_file.as_uri() else None
    )
    await page.goto(page_file.as_uri())
    return page, trouble


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
async def test_every_figure_is_drawn_and_nothing_scrolls_sideways(browser, page_file, width, scheme):
    page, trouble = await _open(browser, page_file, width, scheme)
    for name in FIGURES:
        svg = page.locator(f"#figure-{name} svg")
        assert await svg.count() == 1, name
        box = await svg.bounding_box()
        assert box["width"] > 200, name
        assert box["height"] > 80, name
        assert name == "heat" or box["x"] + box["width"] <= width, f"{name} is cut off"
        marks = "svg => [...svg.querySelectorAll('path, use')].filter(m => m.getBoundingClientRect().width).length"
        assert await svg.evaluate(marks) > 8, name
        text = "svg => [...svg.querySelectorAll('text')].filter(t => t.textContent.trim()).length"
        assert await svg.evaluate(text) > 3, name
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    assert [url for url in trouble if not url.startswith("data:")] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_stands_out_from_its_paper(browser, page_file, scheme):
    page, _ = await _open(browser, page_file, 1280, scheme)
    contrast = """() => {
        const style = getComputedStyle(document.documentElement);
        const light = name => {
            const hex = style.getPropertyValue(name).trim().slice(1);
            const [r, g, b] = [0, 2, 4].map(i => parseInt(hex.slice(i, i + 2), 16) / 255)
                .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const paper = light('--paper');
        const names = ['--ink', '--muted', '--accent', '--other', '--third', '--fourth', '--fifth'];
        return Object.fromEntries(names.map(name => {
            const [high, low] = [light(name), paper].sort((a, b) => b - a);
            return [name, (high + 0.05) / (low + 0.05)];
        }));
    }"""
    ratios = await page.evaluate(contrast)
    assert min(ratios.values()) >= 4.5, f"WCAG AA: {ratios}"
    svg_text = "getComputedStyle(document.querySelector('#figure-standings svg text')).fill"
    page_text = "getComputedStyle(document.body).color"
    assert await page.evaluate(svg_text) == await page.evaluate(page_text)


async def test_the_keyboard_reaches_sections_and_scroll_boxes(browser, page_file):
    page, _ = await _open(browser, page_file, 390, "light")
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(60):
        await page.keyboard.press("Tab")
        reached.add(await page.evaluate("document.activeElement.className || document.activeElement.tagName"))
    assert {"scroll", "A"} <= reached
