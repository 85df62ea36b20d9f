"""The page of the model that ships, in a real Firefox: it agrees, and answers as Python does.

No driver is needed: another page opens it in a frame, chooses a picture, and sends what it sees to the test's server.
"""

import json
import queue
import shutil
import subprocess

import numpy as np
import pytest

from clf_export.delivery.page import write_page
from clf_runtime import Classifier
from clf_runtime.model.file import default_model

from .conftest import Quiet

Image = pytest.importorskip("PIL.Image")

SECONDS = 180  # Firefox's first start on a busy machine takes half of it
ASKING = """
<!doctype html>
<iframe src="./index.html" width="800" height="600"></iframe>
<script type="module">
async function until(found) {
  for (;;) {
    const value = found(document.querySelector("iframe").contentDocument);
    if (value) return value;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
await until((page) => page.body?.dataset.state === "ready");
const agreement = await until((page) => page.querySelector("#agreement").dataset.state);
const transfer = new DataTransfer();
transfer.items.add(new File([await (await fetch("shot.png")).blob()], "shot.png", { type: "image/png" }));
const input = await until((page) => page.querySelector("#files"));
input.files = transfer.files;
input.dispatchEvent(new Event("change", { bubbles: true }));
const answer = await until((page) => page.querySelector("#results > li")?.answer);
await fetch("told", { method: "POST", body: JSON.stringify({ agreement, answer, agent: navigator.userAgent }) });
</script>
"""
# no first-run pages, no updates, nothing that is asked of other machines
SETTINGS = """
user_pref("app.normandy.enabled", false);
user_pref("app.update.auto", false);
user_pref("browser.aboutwelcome.enabled", false);
user_pref("browser.safebrowsing.malware.enabled", false);
user_pref("browser.safebrowsing.phishing.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("services.settings.server", "data:,");
user_pref("toolkit.telemetry.enabled", false);
"""


@pytest.fixture
def firefox(tmp_path):
    """A function that opens an address in a Firefox without a window, the system's own, with a profile of its own."""
    found = shutil.which("firefox-esr") or shutil.which("firefox")
    if found is None:
        pytest.skip("no Firefox is installed (firefox-esr, firefox): apt-get install firefox-esr")
    profile, running = tmp_path / "profile", []
    profile.mkdir()
    (profile / "user.js").write_text(SETTINGS, "utf-8")

    def open_page(address):
        command = [found, "--headless", "--no-remote", "--profile", profile, address]
        running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    yield open_page
    for process in running:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def test_the_model_that_ships_answers_as_in_python(firefox, ort_web, serve, tmp_path):
    told = queue.Queue()

    class Telling(Quiet):
        def do_POST(self):  # noqa: N802
            told.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

    model, folder = default_model(), tmp_path / "page"
    write_page(model, folder, ort_web=ort_web)
    pixels = np.random.default_rng(3).integers(0, 200, (61, 47, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "shot.png")
    (folder / "asking.html").write_text(ASKING, "utf-8")
    firefox(serve(folder, Telling)[0] + "asking.html")
    seen = told.get(timeout=SECONDS)
    assert "Firefox" in seen["agent"]
    assert seen["agreement"] == "agrees"
    prediction = Classifier.load(model).predict(str(folder / "shot.png"), distribution=True, reject="auto")
    np.testing.assert_allclose(seen["answer"]["probabilities"], prediction.distribution, atol=1e-6)
    assert seen["answer"]["name"] == prediction.name
