"""The explorer page in a browser: Chromium, headless, through Selenium; skipped where there is none."""

import functools
import json
import os
import re
import shutil
from urllib.parse import quote

import numpy as np
import pytest

import alsx
from alsx.datasets import load_demo, make_ratings
from alsx.explorer import write

try:
    from selenium import webdriver
    from selenium.common.exceptions import WebDriverException
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
except ImportError:
    pytest.skip("selenium is not installed", allow_module_level=True)

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))), None
)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(BROWSER is None or DRIVER is None, reason="there is no Chromium with its driver")

FLAGS = (
    "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
    "disable-component-update", "disable-sync", "disable-dev-shm-usage",
)  # fmt: skip
SIZE = (1280, 800)
PHONE = (390, 844)

# Put before the page's own script: WebGL also where it is rendered by the processor, or none at all.
GET = "const get = HTMLCanvasElement.prototype.getContext; HTMLCanvasElement.prototype.getContext = "
ANY_WEBGL = (
    GET + "function (kind, o) { return get.call(this, kind, { ...o, failIfMajorPerformanceCaveat: false }); };"
    "const p = WebGLRenderingContext.prototype.getParameter; WebGLRenderingContext.prototype.getParameter = function (name) { "
    "const found = p.call(this, name); return name === this.RENDERER || name === 37446 ? 'a card' : found; };"
)
NO_WEBGL = GET + "function (kind, o) { return /webgl/.test(kind) ? null : get.call(this, kind, o); };"


class Tab:
    """A page in the browser, and the questions that tests have."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, path, hash=""):
        self.driver.get("about:blank")  # so that another hash alone is a new visit
        self.driver.get_log("browser")
        self.driver.get(path.as_uri() + hash)
        return self.ask("return true")

    def ask(self, code, *arguments):
        """What a function of `page`, the page's own object, returns for `args`."""
        script = (
            "const [args, done] = arguments; explorer.then((page) => { " + code + " }).then("
            "(value) => done([value === undefined ? null : value]), (error) => done(String(error.stack)))"
        )
        found = self.driver.execute_async_script(script, list(arguments))
        assert isinstance(found, list), found
        return found[0]

    def still(self):
        """Wait until the map no longer glides, and has been drawn."""
        self.ask(
            "return new Promise((done) => { const wait = (x, left) => setTimeout(() => { const c = page.map.camera; "
            "const now = [c.x, c.y, c.scale].join(); if (now === x && !page.map.waiting || !left) done(); "
            "else wait(now, left - 1); }, 60); wait('', 60); })"
        )

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def texts(self, selector):
        return self.driver.execute_script(
            "return [...document.querySelectorAll(arguments[0])].map((x) => x.textContent)", selector
        )

    def listed(self, name):
        """The ids of the items of a list of the panel."""
        return self.ask(
            "return [...document.querySelectorAll(`#${args[0]} .open`)].map((x) => page.items.ids[x.dataset.item])",
            name,
        )

    def keys(self, *keys):
        ActionChains(self.driver).send_keys(*keys).perform()

    def place(self, item):
        """Where a row of the items is on the screen."""
        return self.ask(
            "const box = document.getElementById('map').getBoundingClientRect(); const [x, y] = page.map.screen(args[0]); "
            "return [box.left + x, box.top + y]", item,
        )  # fmt: skip

    def click_at(self, x, y):
        body = ActionChains(self.driver)
        body.w3c_actions.pointer_action.move_to_location(round(x), round(y))
        body.w3c_actions.pointer_action.click()
        body.perform()

    def hash(self):
        return self.driver.execute_script("return location.hash")

    def errors(self):
        return [entry for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def resize(self, size, mobile=False):
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": mobile},
        )

    def before_scripts(self, source):
        """Run code before the scripts of the next pages; return how to take it back."""
        found = self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})
        return lambda: self.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", found)

    def pixels(self):
        """How many different colours the canvas of the points shows."""
        return self.ask(
            "page.map.drawNow(); const from = page.map.points.canvas; const to = document.createElement('canvas'); "
            "to.width = from.width; to.height = from.height; const c = to.getContext('2d'); c.drawImage(from, 0, 0); "
            "return new Set(new Uint32Array(c.getImageData(0, 0, to.width, to.height).data.buffer)).size"
        )


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"user-data-dir={tmp_path_factory.mktemp('profile')}", f"window-size={SIZE[0]},{SIZE[1]}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    try:
        found = webdriver.Chrome(options=options, service=Service(DRIVER))
    except WebDriverException as error:
        pytest.skip(f"the browser does not start: {str(error)[:100]}")
    found.set_script_timeout(30)
    yield found
    found.quit()


@pytest.fixture
def tab(driver):
    one = Tab(driver)
    one.resize(SIZE)
    yield one
    assert one.errors() == []


@pytest.fixture(scope="module")
def demo():
    films = load_demo()
    return films, alsx.FactorALS(8, max_iter=5, random_state=0).fit(films.ratings)


@pytest.fixture(scope="module")
def page(demo, tmp_path_factory):
    films, model = demo
    return write(
        model, tmp_path_factory.mktemp("page") / "explorer.html", items=films, source="demo, simulated ratings"
    )


def row_of(demo, title):
    films, model = demo
    return int(np.flatnonzero(np.array(films.titles(model.item_ids_)) == title)[0])


def nearest(demo, row, **options):
    model = demo[1]
    return model.similar_items(model.item_ids_[row], 10, **options)


# ---------------------------------------------------------------------------------------------------------------------


def test_it_loads_and_draws(tab, page):
    tab.open(page)
    assert tab.ask("return page.map.points.kind") in ("WebGL", "Canvas")
    assert tab.find("h1").text == "Map of films"
    assert "747 films" in tab.find("#source").text
    assert "simulated" in tab.find("#source").text
    assert not tab.find("#loading").is_displayed()
    assert tab.ask("return page.map.frames") > 0
    assert tab.pixels() > 50
    # The most rated in view, as a list for those who do not see the map.
    counts = tab.ask(
        "return [...document.querySelectorAll('#view .open')].map((x) => page.data.counts[x.dataset.item])"
    )
    assert counts == sorted(counts, reverse=True)
    assert len(counts) == 12


@pytest.mark.parametrize(("source", "kind"), [(ANY_WEBGL, "WebGL"), (NO_WEBGL, "Canvas")])
def test_both_ways_of_drawing_show_the_same_points(tab, page, source, kind):
    undo = tab.before_scripts(source)
    try:
        tab.open(page)
        if tab.ask("return page.map.points.kind") != kind:
            pytest.skip("this browser has no WebGL")
        assert tab.pixels() > 50
        # In the middle of the largest points is the colour of their genre.
        seen = tab.ask(
            "page.map.zoom(12, ...page.map.screen(page.map.order[0])); page.map.drawNow(); const from = page.map.points.canvas; "
            "const to = document.createElement('canvas'); to.width = from.width; to.height = from.height; "
            "const c = to.getContext('2d'); c.drawImage(from, 0, 0); return page.map.inView(3).map((i) => { "
            "const [x, y] = page.map.screen(i).map(Math.round); return [[...c.getImageData(x, y, 1, 1).data], "
            "page.map.colourOf(i)]; });"
        )
        assert seen
        for found, colour in seen:
            wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
            assert np.abs(np.array(found[:3]) - wanted).max() < 40
        if kind == "WebGL":
            # Where the graphics card is taken away, the page goes on without.
            tab.ask(
                "page.map.points.gl.getExtension('WEBGL_lose_context').loseContext(); "
                "return new Promise((done) => setTimeout(done, 200))"
            )
            assert tab.ask("return page.map.points.kind") == "Canvas"
            assert tab.pixels() > 50
    finally:
        undo()


def test_search_by_keyboard_opens_a_film_with_its_nearest(tab, page, demo):
    tab.open(page)
    tab.keys("/")
    assert tab.driver.switch_to.active_element.get_attribute("id") == "search"
    tab.keys("star wars")
    options = tab.all("#found [role=option]")
    assert len(options) >= 5
    assert tab.find("#search").get_attribute("aria-expanded") == "true"
    tab.keys(Keys.ARROW_DOWN)
    assert tab.find("#search").get_attribute("aria-activedescendant") == "found-1"
    assert options[1].get_attribute("aria-selected") == "true"
    row = int(options[1].get_attribute("data-item"))
    tab.keys(Keys.ENTER)
    films, model = demo
    assert tab.driver.switch_to.active_element.text == films.titles([model.item_ids_[row]])[0]
    assert tab.hash() == f"#film={model.item_ids_[row]}"
    floor = tab.ask("return page.floor")
    ids, cosines = nearest(demo, row, min_ratings=floor)
    assert tab.listed("near") == [str(i) for i in ids]
    assert [float(x) for x in tab.texts("#near .value b")] == pytest.approx(cosines, abs=0.0051)
    assert tab.ask("return page.map.marks.near.map((i) => page.items.ids[i])") == [str(i) for i in ids]
    assert films.titles([model.item_ids_[row]])[0] in tab.find("#said").get_attribute("textContent")
    tab.keys("/", "nothing is called like this")
    assert tab.texts("#found li") == ["No film of that name"]
    tab.keys(Keys.ESCAPE)
    assert not tab.find("#found").is_displayed()


def test_search_knows_accents_years_and_the_words_of_a_title(tab, page):
    tab.open(page)
    code = "return page.items.search(args[0], page.map.order, 5).map((i) => page.items.name(i))"
    found = functools.partial(tab.ask, code)
    assert found("amelie")[0] == "Amélie (2001)"
    assert found("matrix")[0] == "The Matrix (1999)"
    assert found("rings towers")[0].startswith("The Lord of the Rings: The Two Towers")
    assert all("1994" in name for name in found("1994"))
    assert found("   ") == []


def test_a_click_opens_the_film_under_it(tab, page, demo):
    tab.open(page)
    row = row_of(demo, "Forrest Gump")
    tab.ask("page.map.zoom(6, ...page.map.screen(args[0]))", row)
    tab.still()
    x, y = tab.place(row)
    tab.click_at(x, y)
    assert tab.find("#item h2").text == "Forrest Gump"
    assert tab.hash() == f"#film={demo[1].item_ids_[row]}"
    # Where nothing is, nothing is chosen any more.
    free = tab.ask(
        "const { width, height } = page.map.camera; for (let x = 300; x < width - 80; x += 7) for (let y = 20; y < height; y += 7) "
        "if (page.map.at(x, y, 25) === null) return [x, y]; "
    )
    corner = tab.ask("const box = document.getElementById('map').getBoundingClientRect(); return [box.left, box.top]")
    tab.click_at(corner[0] + free[0], corner[1] + free[1])
    assert tab.find("#item h2").text == "Films in view"
    assert tab.hash() == ""


def test_the_pointer_over_a_point_shows_what_it_is(tab, page, demo):
    tab.open(page)
    row = row_of(demo, "Forrest Gump")
    tab.ask("page.map.zoom(6, ...page.map.screen(args[0]))", row)
    tab.still()
    x, y = tab.place(row)
    chain = ActionChains(tab.driver)
    chain.w3c_actions.pointer_action.move_to_location(round(x), round(y))
    chain.perform()
    said = tab.find("#tip").text
    assert "Forrest Gump" in said
    assert "1994" in said
    assert f"{demo[1].item_counts_[row]:,} ratings" in said


def test_hands_move_and_zoom_the_map(tab, page):
    tab.open(page)
    camera = lambda: tab.ask("const { x, y, scale } = page.map.camera; return [x, y, scale]")  # noqa: E731
    start = camera()
    element = tab.find("#map")
    ActionChains(tab.driver).click_and_hold(element).move_by_offset(120, -60).release().perform()
    moved = camera()
    assert moved[0] == pytest.approx(start[0] - 120 / start[2], abs=0.01)
    assert moved[1] == pytest.approx(start[1] + 60 / start[2], abs=0.01)
    assert tab.find("#item h2").text == "Films in view"  # dragging chooses nothing
    ActionChains(tab.driver).scroll_from_origin(ScrollOrigin.from_element(element), 0, -240).perform()
    tab.still()
    zoomed = camera()
    assert zoomed[2] > 1.3 * moved[2]
    tab.find("#zoom-out").click()
    assert camera()[2] < zoomed[2]
    tab.find("#zoom-fit").click()
    tab.still()
    assert camera() == pytest.approx(start, abs=1e-3)


def test_two_fingers_pinch(tab, page):
    tab.open(page)
    start = tab.ask("return page.map.camera.scale")
    touch = lambda kind, *points: tab.driver.execute_cdp_cmd(  # noqa: E731
        "Input.dispatchTouchEvent",
        {"type": kind, "touchPoints": [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]},
    )
    touch("touchStart", (500, 400))
    touch("touchStart", (500, 400), (600, 400))
    for reach in (20, 50, 100):
        touch("touchMove", (500 - reach, 400), (600 + reach, 400))
    touch("touchEnd")
    assert tab.ask("return page.map.camera.scale") == pytest.approx(3 * start, rel=0.05)
    assert tab.ask("return page.selected") is None


def test_keys_move_the_map_and_open_what_is_in_its_middle(tab, page):
    tab.open(page)
    tab.driver.execute_script("document.getElementById('map').focus()")
    before = tab.ask("return page.map.camera.x")
    scale = tab.ask("return page.map.camera.scale")
    tab.keys(Keys.ARROW_RIGHT, "+")
    assert tab.ask("return page.map.camera.x") > before
    assert tab.ask("return page.map.camera.scale") > scale
    tab.keys(Keys.ENTER)
    assert tab.ask("return page.selected") is not None
    assert tab.driver.switch_to.active_element.tag_name == "h2"
    tab.keys(Keys.ESCAPE)
    assert tab.ask("return page.selected") is None


# ---------------------------------------------------------------------------------------------------------------------


def test_the_legend_filters_and_counts(tab, page, demo):
    tab.open(page)
    names = tab.ask("return page.scheme.classes.map((c) => c.name)")
    counts = [int(text.replace(",", "")) for text in tab.texts("#classes .count")]
    assert sum(counts) == 747
    buttons = tab.all("#classes button")
    buttons[1].click()
    assert tab.ask("return page.map.n_lit") == counts[1]
    assert buttons[1].get_attribute("aria-pressed") == "true"
    buttons[2].click()
    assert tab.ask("return page.map.n_lit") == counts[1] + counts[2]
    lit = tab.ask("return page.map.inView(700).map((i) => page.scheme.of[i])")
    assert set(lit) == {1, 2}
    for button in buttons[1:3]:
        button.click()
    assert tab.ask("return page.map.n_lit") == 747
    assert "Drama" in names
    for scheme in ("year", "mean", "popularity", "bias"):
        found = tab.ask(
            "const s = document.getElementById('scheme'); s.value = args[0]; s.dispatchEvent(new Event('change')); "
            "return page.scheme.classes.map((c) => [c.name, c.n, c.light, c.dark])", scheme,
        )  # fmt: skip
        assert sum(n for _, n, _, _ in found) == 747
        assert len(found) >= 3
        assert len({light for _, _, light, _ in found}) == len(found)
    floors = tab.ask("return page.floors")
    tab.ask(
        "const f = document.getElementById('floor'); f.value = args[0]; f.dispatchEvent(new Event('input'))",
        len(floors) - 2,
    )
    assert tab.ask("return page.map.n_lit") == int((demo[1].item_counts_ >= floors[-2]).sum())


def test_classes_of_numbers_are_right(tab, page, demo):
    tab.open(page)
    of, names = tab.ask(
        "const s = page.schemes.find((s) => s.name === 'year'); return [[...s.of], s.classes.map((c) => c.name)]"
    )
    years = demo[0].items["year"].to_pylist()
    for year, c in zip(years, of, strict=True):
        name = names[c]
        found = re.fullmatch(r"before (\d+)|(\d+)(?: to (\d+))?|(\d+) or later", name)
        before, first, last, later = (None if text is None else int(text) for text in found.groups())
        low, high = (later, 9999) if later else (0, before - 1) if before else (first, last or first)
        assert low <= year <= high


def test_five_ratings_bring_recommendations_at_once(tab, page, demo):
    model = demo[1]
    tab.open(page)
    tab.find("#tab-you").click()
    given = {}
    for stars in (5.0, 4.5, 4.0, 2.0, 3.0):
        slider = tab.find("#offered input")
        row = int(slider.get_attribute("data-rate"))
        tab.driver.execute_script("arguments[0].focus()", slider)
        # Keys move a slider by a mark; it is released once.
        tab.driver.execute_script(
            "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input')); "
            "arguments[0].dispatchEvent(new Event('change'))", slider, str(int(2 * stars)),
        )  # fmt: skip
        given[model.item_ids_[row].item()] = stars
        floor = tab.ask("return page.floor")
        ids, _ = model.recommend(ratings=given, min_ratings=floor)
        assert tab.listed("listed") == [str(i) for i in ids]
    assert tab.ask("return Object.fromEntries([...page.ratings].map(([i, r]) => [page.items.ids[i], r]))") == {
        str(i): r for i, r in given.items()
    }
    new = model.fold_in(
        [("new" if model.user_ids_.dtype.kind == "U" else 10**6, i) for i in given], list(given.values())
    )
    predicted = new.predict(np.full(10, 10**6), ids)
    assert [float(x) for x in tab.texts("#listed .value b")] == pytest.approx(predicted, abs=0.0501)
    # The other order: predicted ratings alone.
    tab.ask("const o = document.getElementById('order'); o.value = 'mean'; o.dispatchEvent(new Event('change'))")
    best, _ = model.recommend(ratings=given, min_ratings=floor, strategy="mean")
    assert tab.listed("listed") == [str(i) for i in best]
    assert len(tab.all("#rated .open")) == 5
    tab.find("#rated .remove").click()
    assert len(tab.all("#rated .open")) == 4
    assert "rated" in tab.hash()


def test_a_rating_by_keys_keeps_the_place(tab, page):
    tab.open(page, "#film=1")
    slider = tab.find(".mine input")
    tab.driver.execute_script("arguments[0].focus()", slider)
    tab.keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    active = tab.driver.switch_to.active_element
    assert active.get_attribute("data-rate") == slider_row(tab)
    assert active.get_attribute("aria-valuetext") == "1.5 stars"
    assert tab.ask("return [...page.ratings.values()]") == [1.5]
    assert "1 rated" in tab.find("#said").get_attribute("textContent")


def slider_row(tab):
    return tab.find(".mine input").get_attribute("data-rate")


SMALL = make_ratings(200, 80, 5000, random_state=1)


def other_models():
    users, items, stars = SMALL.triples()
    names = np.array([f"a&b={i:03}, ü" for i in range(80)])
    pairs = list(zip(users.tolist(), items.tolist(), strict=True))
    yield (
        "texts as ids",
        alsx.FactorALS(5, random_state=0, max_iter=4).fit(alsx.Ratings.from_arrays(users, names[items], 20 * stars)),
        [100.0, 80.0, 20.0],
    )
    yield "bayes", alsx.BayesALS(5, n_samples=8, random_state=0).fit(SMALL), [5.0, 4.0, 1.0]
    yield "rank", alsx.RankALS(6, random_state=0, max_iter=4).fit(SMALL), [5.0, 4.0, 1.0]
    yield "clicks", alsx.RankALS(6, feedback="implicit", random_state=0, max_iter=4).fit(pairs), [1.0, 1.0, 1.0]
    yield (
        "float64",
        alsx.FactorALS(5, implicit_features=None, dtype="float64", random_state=0).fit(SMALL),
        [5.0, 4.0, 1.0],
    )


def test_other_models_solve_and_list_as_in_python(tab, tmp_path):
    for name, model, stars in other_models():
        path = write(model, tmp_path / "other.html", positions=np.random.default_rng(0).random((80, 2)), noun="songs")
        rows = np.argsort(-model.item_counts_, kind="stable")[[0, 4, 9]]
        ids = model.item_ids_[rows].tolist()
        quoted = [quote(str(one), safe="") for one in ids]
        rated = ",".join(f"{one}:{rating:g}" for one, rating in zip(quoted, stars, strict=True))
        tab.open(path, f"#song={quoted[0]}&rated={rated}")
        assert tab.ask("return page.ratings.size") == 3, name
        assert tab.find("#item h2").text == str(ids[0])
        floor = tab.ask("return page.floor")
        ratings = dict(zip(ids, stars, strict=True))
        guests, _ = model._with_guests(None, ratings)
        vector = guests._users.table[0, : model._k + 1]
        np.testing.assert_allclose(
            tab.ask("return [...page.model.solve(page.ratings)]"), vector, atol=2e-4 * max(stars), err_msg=name
        )
        found = tab.ask("page.openTab('you'); return page.recommended().map(([i, s]) => [page.items.ids[i], s])")
        best, scores = model.recommend(ratings=ratings, min_ratings=floor)
        assert [one for one, _ in found] == [str(i) for i in best], name
        np.testing.assert_allclose([s for _, s in found], scores, atol=1e-4 * max(stars), err_msg=name)
        similar, cosines = model.similar_items(ids[0], 10, min_ratings=floor)
        near = tab.ask(
            "return page.model.similar(args[0], 10, page.floor).map(([i, c]) => [page.items.ids[i], c])", int(rows[0])
        )
        assert [one for one, _ in near] == [str(i) for i in similar], name
        np.testing.assert_allclose([c for _, c in near], cosines, atol=1e-4)
        assert tab.errors() == [], name


@pytest.mark.parametrize("n", [1, 2, 6])
def test_a_page_of_hardly_anything(tab, tmp_path, n):
    pairs = [(u, f"song {i}") for u in range(9) for i in range(n)]
    stars = np.random.default_rng(0).integers(1, 6, size=len(pairs))
    path = write(alsx.FactorALS(1, random_state=0).fit(pairs, stars), tmp_path / "tiny.html")
    tab.open(path, "#item=song%200&rated=song%200:4")
    assert tab.find("#item h2").text == "song 0"
    assert len(tab.listed("near")) <= n - 1
    assert len(tab.ask("return page.recommended()")) == n - 1
    for scheme in tab.ask("return page.schemes.map((s) => s.name)"):
        tab.ask(
            "page.setScheme(args[0]); page.choose(0); page.choose(0); page.setFloor(page.floors[0]); page.openTab('you')",
            scheme,
        )
    tab.ask("page.forget(); page.skip(); page.map.frame([0]); page.setTheme('dark')")
    assert tab.ask("return page.map.n_lit") == n


# ---------------------------------------------------------------------------------------------------------------------


def test_an_address_leads_to_a_film_and_back_again(tab, page, demo):
    model = demo[1]
    tab.open(page, "#film=5&rated=1:4.5,2:3")
    assert tab.find("#item h2").text == demo[0].titles([5])[0]
    assert tab.ask("return [...page.ratings.values()]") == [4.5, 3]
    tab.driver.execute_script("location.hash = '#film=7'")
    tab.still()
    assert tab.find("#item h2").text == demo[0].titles([7])[0]
    tab.driver.back()
    tab.still()
    assert tab.find("#item h2").text == demo[0].titles([5])[0]
    # Nonsense is no error.
    tab.open(page, "#film=%E0%A4%A&rated=x:y,,1:,1:99&&=")
    assert tab.ask("return [page.selected, ...page.ratings.values()]") == [None, 5]
    assert model.rating_range_[1] == 5


def test_dark_and_light(tab, page):
    tab.open(page)
    paper = lambda: tab.driver.execute_script("return getComputedStyle(document.body).backgroundColor")  # noqa: E731
    light = paper()
    tab.find("#theme").click()
    assert paper() != light
    assert tab.find("#theme").get_attribute("aria-pressed") == "true"
    tab.driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    try:
        tab.open(page)
        assert paper() != light
        # Ink on paper, and the muted ink, are readable: WCAG's 4.5.
        for element in ("h1", "#source", ".under", "#near .value, #view .value"):
            assert contrast(tab, element) >= 4.5
    finally:
        tab.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    tab.open(page)
    for element in ("h1", "#source", ".under", "#view .value"):
        assert contrast(tab, element) >= 4.5


def contrast(tab, selector):
    ink, paper = tab.driver.execute_script(
        "const e = document.querySelector(arguments[0]); let p = e; while (p && getComputedStyle(p).backgroundColor === "
        "'rgba(0, 0, 0, 0)') p = p.parentElement; return [getComputedStyle(e).color, getComputedStyle(p).backgroundColor]",
        selector,
    )  # fmt: skip

    def luminance(text):
        shares = np.array([int(x) for x in text[text.index("(") + 1 : -1].split(",")[:3]]) / 255
        linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted([luminance(ink), luminance(paper)])
    return (high + 0.05) / (low + 0.05)


def test_titles_on_the_map_do_not_overlap(tab, page):
    tab.open(page)
    for zoom in (1, 2.5, 4):
        boxes = tab.ask("page.map.zoom(args[0]); page.map.drawNow(); return page.map.overlay.taken", zoom)
        assert len(boxes) > (12 if zoom == 1 else 3)
        for at, a in enumerate(boxes):
            for b in boxes[:at]:
                apart = a[0] >= b[0] + b[2] or b[0] >= a[0] + a[2] or a[1] >= b[1] + b[3] or b[1] >= a[1] + a[3]
                assert apart
    # The most rated in view have theirs.
    tab.ask("page.map.zoom(1e-9)")
    written = tab.ask("page.map.drawNow(); return page.map.overlay.written.plain")
    assert written[:3] == tab.ask("return [...page.map.order.slice(0, 3)]")


def test_a_phone_shows_all_of_it(tab, page):
    tab.resize(PHONE, mobile=True)
    tab.open(page)
    width, height = tab.driver.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
    )
    assert (width, height) == PHONE
    for name in ("map", "search", "tab-you", "item", "theme", "zoom-in", "legend"):
        box = tab.find(f"#{name}").rect
        assert min(box["x"], box["y"]) >= 0, name
        assert box["x"] + box["width"] <= PHONE[0], name
        assert box["y"] + box["height"] < PHONE[1] + 1, name
        assert box["height"] >= 30, name
    tab.find("#tab-you").click()
    assert tab.find("#offered").is_displayed()


def test_controls_have_names_and_roles(tab, page):
    tab.open(page, "#film=5&rated=1:4")
    tab.driver.execute_cdp_cmd("Accessibility.enable", {})
    for tab_name in ("item", "you"):
        tab.ask("page.openTab(args[0])", tab_name)
        nodes = tab.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        roles = {}
        for node in nodes:
            if node.get("ignored"):
                continue
            role, name = node["role"]["value"], node.get("name", {}).get("value", "")
            roles.setdefault(role, []).append(name)
            if role in (
                "button",
                "slider",
                "combobox",
                "searchbox",
                "tab",
                "application",
                "listbox",
                "tabpanel",
                "image",
            ):
                assert name.strip(), json.dumps(node)[:300]
        assert any("Map of 747 films" in name for name in roles["application"])
        assert roles["tab"] == ["Film", "For you1"] or len(roles["tab"]) == 2
    tab.driver.execute_cdp_cmd("Accessibility.disable", {})
    # Every control is reached by the tabulator, and shows that it has the focus.
    tab.driver.execute_script("document.activeElement.blur(); window.scrollTo(0, 0)")
    reached = []
    for _ in range(14):
        tab.keys(Keys.TAB)
        active = tab.driver.switch_to.active_element
        reached.append(active.get_attribute("id"))
    assert [x for x in reached if x][:3] == ["search", "theme", "map"]
    assert "scheme" in reached


def test_the_policy_is_obeyed_and_nothing_else_runs(tab, page):
    tab.open(page)
    assert tab.errors() == []
    blocked = tab.driver.execute_async_script(
        """
        const done = arguments[0];
        const seen = [];
        document.addEventListener("securitypolicyviolation", (event) => seen.push(event.effectiveDirective));
        const script = document.createElement("script");
        script.textContent = "window.foreign = true";
        document.body.append(script);
        const style = document.createElement("style");
        style.textContent = "body { display: none }";
        document.head.append(style);
        const image = document.createElement("img");
        image.src = "http://127.0.0.1:9/x.png";
        document.body.append(image);
        fetch("http://127.0.0.1:9/").catch(() => {});
        setTimeout(() => done([window.foreign === true, getComputedStyle(document.body).display, seen.sort()]), 300);
        """
    )
    assert blocked == [False, "flex", ["connect-src", "img-src", "script-src-elem", "style-src-elem"]]
    assert len(tab.errors()) >= 4  # what was refused just now
    # The page asked for nothing: it is the only thing that was loaded.
    assert (
        tab.driver.execute_script(
            "return performance.getEntriesByType('resource').filter((r) => !r.name.includes('127.0.0.1')).length"
        )
        == 0
    )


def test_a_browser_without_what_it_needs_says_so(tab, page):
    undo = tab.before_scripts("delete window.DecompressionStream;")
    try:
        tab.driver.get(page.as_uri())
        tab.driver.execute_async_script("explorer.then(arguments[0], () => arguments[0]())")
        assert "browser of 2023" in tab.find("#loading").text
    finally:
        undo()
    assert all("DecompressionStream" in entry["message"] for entry in tab.errors())


def test_the_page_needs_no_folder_of_its_own(tab, page, tmp_path):
    other = tmp_path / "a folder with ü and #"
    other.mkdir()
    shutil.copy(page, other / "x.html")
    assert sorted(os.listdir(other)) == ["x.html"]
    assert tab.open(other / "x.html")
