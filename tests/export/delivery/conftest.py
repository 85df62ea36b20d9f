"""What the tests of pages need: Chromium, onnxruntime-web, a web server; where one is absent, its tests are skipped."""

import functools
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PATIENCE = 180_000  # milliseconds; no timing decides a test
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = [
    *("--no-sandbox", "--disable-dev-shm-usage"),  # a container's root, a container's small /dev/shm
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
]


@pytest.fixture(scope="session")
def ort_web():
    folder = ROOT / "node_modules" / "onnxruntime-web"
    if not (folder / "dist").is_dir():
        pytest.skip("onnxruntime-web is absent: npm ci (make test does it where there is npm)")
    return folder


@pytest.fixture(scope="session")
def axe():
    file = ROOT / "node_modules" / "axe-core" / "axe.min.js"
    if not file.is_file():
        pytest.skip("axe-core is absent: npm ci (make test does it where there is npm)")
    return file.read_text("utf-8")


@pytest.fixture(scope="session")
def chromium():
    """A running Chromium, the system's own."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is absent: pip install playwright")
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no Chromium is installed ({', '.join(NAMES)}): apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=OPTIONS)
        yield browser
        browser.close()


class Quiet(SimpleHTTPRequestHandler):
    def end_headers(self):
        self.send_header("Access-Control-Allow-Origin", "*")  # as a CDN does
        super().end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def serve():
    """Serve a folder on this machine; returns its address, and a function that stops the server."""
    servers = []

    def start(folder, handler=Quiet):
        server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(folder)))
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()

        def stop():
            server.shutdown()
            server.server_close()
            thread.join()

        servers.append(stop)
        return f"http://127.0.0.1:{server.server_port}/", stop

    yield start
    for stop in servers:
        stop()


@pytest.fixture
def visit(chromium):
    """Open a page, wait until it is ready, and return it; afterwards it must have logged no error.

    Keyword arguments are those of a browser context.
    """
    contexts, errors = [], []

    def open_page(address, state="ready", prepare=lambda page: None, **options):
        context = chromium.new_context(**options)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        prepare(page)
        page.goto(address)
        if state:
            page.wait_for_selector(f"body[data-state={state}]")
        return page

    open_page.errors = errors
    yield open_page
    for context in contexts:
        context.close()
    assert errors == []
