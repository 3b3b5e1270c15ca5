"""Outputs at an address such as gs://bucket/outputs: worked on here, kept there.

A notebook grows cell by cell and takes its name when it is finished, and trials are
kept one by one: for that there is a folder of this machine, in `lamb_keras.data.cache`.
What has ended is copied to the address, by fsspec, and what others ended there is found
there before anything is planned to run. A run's record is the last of it to be copied,
and the first to go: whatever interrupts a copy, no run is believed that is not whole.
"""

import contextlib
import hashlib
import sys
from pathlib import Path

from lamb_keras.batch import BatchError
from lamb_keras.data import cache
from lamb_keras.store import atomic

# Of what a batch leaves beside notebooks and records, all that people look at.
SHARED = ("results.csv", "trials.csv", "report.html", "report.zip", "summary.ipynb")


class Remote:
    """A `folder` of this machine, of all scales, and the `address` where it is kept."""

    def __init__(self, address: str):
        self.address = address.rstrip("/")
        try:
            from fsspec.core import url_to_fs
        except ImportError:
            raise BatchError(
                f"--output {address} needs the package fsspec; install "
                "lamb-keras[address]"
            ) from None
        with self._one_sentence("be opened"):
            self._files, self._root = url_to_fs(self.address)
        name = hashlib.sha256(self.address.encode()).hexdigest()[:16]
        self.folder = Path(cache.folder()).absolute() / "outputs" / name

    def check(self):
        """Raises `BatchError` where nothing can be written at the address."""
        probe = f"{self._root}/.lamb-keras"
        with self._one_sentence("be written to"):
            self._write(probe, b"?")
            self._files.rm_file(probe)

    def pull(self, scale: str):
        """Brings the runs that ended at this scale, where they are not here as well."""
        with self._one_sentence("be read"):
            self._files.invalidate_cache()
            for path in sorted(self._files.glob(f"{self._root}/{scale}/table*/*.json")):
                record = path[len(self._root) + 1 :]
                content = self._there(record)
                if self._here(record) == content:
                    continue
                here = self.folder / record
                here.parent.mkdir(parents=True, exist_ok=True)
                here.unlink(missing_ok=True)
                executed = self._there(record.removesuffix(".json") + ".ipynb")
                if executed is not None:
                    atomic.write_bytes(here.with_suffix(".ipynb"), executed)
                atomic.write_bytes(here, content)

    def push_run(self, record: dict):
        """Copies a run that has ended, of which this is the record.

        A store that is away for a moment ends no batch: `push_report` tries again.
        """
        folder = f"{record['scale']}/{record['run'].partition('/')[0]}"
        try:
            with self._one_sentence("be written to"):
                self._push(f"{folder}/{record['notebook']}")
        except BatchError as error:
            print(f"lamb-keras: {error}; it is tried again", file=sys.stderr)

    def push_report(self, scale: str):
        """Copies the report of a scale, and the pages of its runs.

        Before these, all runs that are here and not there: none is left behind by a
        batch that was killed.
        """
        pages = [
            *(self.folder / scale / name for name in SHARED),
            *sorted((self.folder / scale).glob("table*/[!.]*.html")),
        ]
        runs = {
            path.relative_to(self.folder).as_posix().partition(".")[0]
            for path in (self.folder / scale).glob("table*/[!.]*.json")
        }
        with self._one_sentence("be written to"):
            for run in sorted(runs):
                self._push(run)
            for page in filter(Path.exists, pages):
                name = page.relative_to(self.folder).as_posix()
                self._write(f"{self._root}/{name}", page.read_bytes())

    def _push(self, run):
        """Makes a run there what it is here, its success and its last failure."""
        for stem in (run, f"{run}.failed"):
            record, notebook = f"{stem}.json", f"{stem}.ipynb"
            if self._here(record) == self._there(record):
                continue
            for name in (record, notebook):
                if self._files.exists(f"{self._root}/{name}"):
                    self._files.rm_file(f"{self._root}/{name}")
            for name in (notebook, record):
                if (content := self._here(name)) is not None:
                    self._write(f"{self._root}/{name}", content)

    def _here(self, name):
        path = self.folder / name
        return path.read_bytes() if path.exists() else None

    def _there(self, name):
        path = f"{self._root}/{name}"
        return self._files.cat_file(path) if self._files.exists(path) else None

    def _write(self, path, content):
        self._files.makedirs(self._files._parent(path), exist_ok=True)
        # Whole or not at all, also where the address is that of a disk.
        with self._files.transaction, self._files.open(path, "wb") as file:
            file.write(content)

    @contextlib.contextmanager
    def _one_sentence(self, what):
        """Whatever goes wrong at an address, of any kind of store, in one sentence."""
        try:
            yield
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise BatchError(
                f"--output {self.address} cannot {what}: {reason}"
            ) from error
