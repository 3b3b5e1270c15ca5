"""What all tests have in common."""

import os
import shutil

import pytest

from lamb_keras.batch import compilation_cache
from lamb_keras.cpu import share

# Many tests, and the kernels that they start, compile the same programs: they find them
# where runs do. For JAX, which reads this when it is imported.
os.environ.update(compilation_cache.variables(os.environ))
# Those that pytest-xdist runs side by side share the processors, as runs do.
_SIDE_BY_SIDE = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
os.environ.setdefault("NPROC", str(share(_SIDE_BY_SIDE)))


def pytest_collection_modifyitems(items):
    """Files with slow tests first: at the end, no one waits for what lasts."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="module")
def browser():
    """A Chromium, driven by Playwright; without one, its tests are skipped."""
    path = os.environ.get("LAMB_KERAS_CHROMIUM") or shutil.which("chromium")
    if not path:
        if os.environ.get("LAMB_KERAS_BROWSER") == "required":
            pytest.fail("there is no chromium; install Debian's package chromium.")
        pytest.skip("there is no chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        browser.close()
