"""How many frames a second the explorer page draws, and how large its file is, at 1,000, 10,000 and 90,000 items.

    python benchmarks/explorer_page.py measure [--sizes=1000,10000,90000] [--frames=120] [--out=DIR] [--reuse]
    python benchmarks/explorer_page.py screenshots PAGE.html [--out=docs]

Needs selenium and a Chromium with its driver. Pages are of models fitted to simulated ratings with a long tail (thirty an item),
k = 20, with made-up titles, years and genres. For each way of drawing (WebGL and the Canvas fallback) the map is moved and zoomed
once a frame, as by a hand that drags and a wheel that turns, and frames are counted, each of them drawn and read back, so that
nothing is left waiting. Headless Chromium has no graphics card: WebGL is rendered by the processor (SwiftShader), which is many
times slower than integrated graphics. Besides: seconds from opening to the first frame, milliseconds of a search, of the ten
nearest of an item and of ten recommendations from five ratings. The second command makes the pictures of the documentation.
"""

import shutil
import tempfile
import time
from pathlib import Path

import fire
import numpy as np
import pyarrow as pa

import alsx
from alsx.datasets import make_ratings
from alsx.explorer import write

GENRES = (
    "Drama",
    "Comedy",
    "Thriller",
    "Romance",
    "Action",
    "Horror",
    "Documentary",
    "Crime",
    "Sci-Fi",
    "Animation",
    "Western",
)
LETTERS = "eeeeeeeeeeeetttttttttaaaaaaaaooooooooiiiiiiinnnnnnnsssssshhhhhhrrrrrrddddllllccuuummwwffggyyppbbvk"
RATINGS_PER_ITEM = 30
MEGABYTE = 1e6

MOVE = """
const [frames, done] = arguments;
explorer.then((page) => {
  const { map } = page;
  const step = (at, spent, start) => {
    if (at === frames) {
      const seconds = (performance.now() - start) / 1000;
      done({ rate: frames / seconds, spent: spent / frames });
      return;
    }
    requestAnimationFrame(() => {
      const begin = performance.now();
      map.pan(9 * Math.cos(at / 9), 9 * Math.sin(at / 9));
      map.zoom(at % 40 < 20 ? 1.05 : 1 / 1.05);
      map.drawNow();
      const gl = map.points.gl;
      if (gl) gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
      step(at + 1, spent + performance.now() - begin, start);
    });
  };
  setTimeout(() => step(0, 0, performance.now()), 500);
});
"""
WORK = """
const [done] = arguments;
explorer.then((page) => {
  const { map, model, items } = page;
  const timed = (work) => {
    const start = performance.now();
    for (let x = 0; x < 5; x++) work(x);
    return (performance.now() - start) / 5;
  };
  items.search("the", map.order, 12);
  const ratings = new Map([0, 5, 9, 14, 30].map((x) => [map.order[x], 4]));
  done([
    timed(() => items.search("tea", map.order, 12)),
    timed((x) => model.similar(map.order[x], 10, page.floor)),
    timed(() => model.recommend(ratings, 10, page.floor)),
  ]);
});
"""
NO_WEBGL = """
const get = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
  return /webgl/.test(kind) ? null : get.call(this, kind, ...rest);
};
"""
# The page leaves WebGL without a graphics card alone, since its own way is faster then.
ANY_WEBGL = """
const get = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, options) {
  return get.call(this, kind, { ...options, failIfMajorPerformanceCaveat: false });
};
const known = WebGLRenderingContext.prototype.getParameter;
WebGLRenderingContext.prototype.getParameter = function (name) {
  return name === this.RENDERER || name === 37446 ? "a card" : known.call(this, name);
};
"""


def browser(width, height, webgl, dark=False, mobile=False):
    """A headless Chromium of a window of this size."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    profile = tempfile.mkdtemp(prefix="explorer-page-")
    for flag in (
        "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
        "disable-component-update", "disable-sync", f"user-data-dir={profile}", f"window-size={width},{height}",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    driver.set_script_timeout(120)
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1 + mobile, "mobile": mobile},
    )
    if dark:
        driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
        )
    source = ANY_WEBGL if webgl else NO_WEBGL
    driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})
    return driver, profile


def made_up(n, generator):
    """A table of n items with titles of one to six words, years and genres."""
    letters = np.array(list(LETTERS))
    lengths = generator.integers(2, 10, size=(n, 6))
    words = generator.integers(1, 7, size=n)
    titles = [
        " ".join("".join(letters[generator.integers(0, len(letters), m)]).capitalize() for m in lengths[i, : words[i]])
        for i in range(n)
    ]
    genres = [
        list(generator.choice(GENRES, size=size, replace=False)) for size in generator.choice([1, 1, 2, 2, 3], size=n)
    ]
    years = generator.integers(1920, 2025, size=n)
    return pa.table({"item": np.arange(n), "title": titles, "year": years, "genres": genres})


def make_page(path, n):
    """Write the page of a model of n items; return the processor's seconds, and those of the embedding among them."""
    ratings = make_ratings(max(n // 4, 500), n, RATINGS_PER_ITEM * n, random_state=0)
    model = alsx.FactorALS(20, max_iter=8, random_state=0).fit(ratings)
    items = made_up(n, np.random.default_rng(0))
    start = time.process_time()
    write(model, path, items=items, noun="films", positions=np.zeros((n, 2)))
    without = time.process_time() - start
    start = time.process_time()
    write(model, path, items=items, noun="films")
    seconds = time.process_time() - start
    return seconds, seconds - without


def measure(sizes=(1000, 10000, 90000), frames=120, out=None, width=1280, height=800, reuse=False):
    """Print the table; with --reuse of the pages that an earlier run left in --out."""
    folder = Path(out or tempfile.mkdtemp(prefix="explorer-page-"))
    folder.mkdir(parents=True, exist_ok=True)
    print("items     MB  made in  of it t-SNE  way     frames/s  ms a frame  first frame   search  nearest  list, ms")
    for n in sizes if isinstance(sizes, (tuple, list)) else [sizes]:
        path = folder / f"explorer-{n}.html"
        seconds, embedding = (np.nan, np.nan) if reuse else make_page(path, n)
        for way in ("WebGL", "Canvas"):
            driver, profile = browser(width, height, way == "WebGL")
            try:
                start = time.perf_counter()
                driver.get(path.as_uri())
                kind = driver.execute_async_script("explorer.then((page) => arguments[0](page.map.points.kind))")
                first = time.perf_counter() - start
                # All points, the little-rated ones too.
                driver.execute_async_script(
                    "explorer.then((page) => { page.setFloor(page.floors[0]); arguments[0](); })"
                )
                found = driver.execute_async_script(MOVE, frames)
                work = driver.execute_async_script(WORK)
            finally:
                driver.quit()
                shutil.rmtree(profile, ignore_errors=True)
            assert kind == way
            print(
                f"{n:6,} {path.stat().st_size / MEGABYTE:5.2f} {seconds:6.1f} s {embedding:10.1f} s  {way:7}"
                f"{found['rate']:9.0f}  {found['spent']:10.1f}  {first:9.2f} s  {work[0]:7.1f}  {work[1]:7.1f}  {work[2]:8.1f}",
                flush=True,
            )


# What the pictures show: name, width and height, dark, phone, and what is done first.
PICTURES = (
    ("explorer-map", 1280, 800, False, False, ""),
    ("explorer-film", 1280, 800, True, False, "page.select(page.items.search('matrix', page.map.order, 1)[0])"),
    (
        "explorer-phone", 390, 844, False, True,
        "for (const [i, r] of [[0, 5], [4, 4.5], [9, 4], [11, 2], [20, 3]]) page.rate(page.map.order[i], r); page.openTab('you')",
    ),
)  # fmt: skip


def screenshots(page, out="docs"):
    """Write the pictures, as small as 8 bits a pixel make them."""
    import io

    from PIL import Image

    for name, width, height, dark, mobile, code in PICTURES:
        driver, profile = browser(width, height, False, dark, mobile)
        try:
            driver.get(Path(page).absolute().as_uri())
            script = f"explorer.then((page) => {{ {code}; setTimeout(arguments[0], 1200); }})"
            driver.execute_async_script(script)
            png = Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
        finally:
            driver.quit()
            shutil.rmtree(profile, ignore_errors=True)
        file = Path(out, f"{name}.png")
        png.quantize(256, dither=Image.Dither.NONE).save(file, optimize=True)
        print(file, file.stat().st_size)


if __name__ == "__main__":
    fire.Fire({"measure": measure, "screenshots": screenshots})
