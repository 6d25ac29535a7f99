"""A JupyterLab server for browser tests: on this machine only, with nothing of the user's."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from support.paths import ROOT


class Lab(NamedTuple):
    """A running JupyterLab server and the folder that it serves."""

    url: str
    token: str
    root: Path


@contextmanager
def serving(home: Path) -> Iterator[Lab]:
    """Run JupyterLab with all its state in `home`, over an empty notebooks/ beside our data/."""
    root = home / "root"
    (root / "notebooks").mkdir(parents=True)
    (root / "data").symlink_to(ROOT / "data")
    write_settings(home / "settings")
    server = Lab(f"http://127.0.0.1:{free_port()}", secrets.token_hex(8), root)
    with (home / "server.log").open("wb") as log:
        process = start_lab(server, home, log)
        try:
            wait_until_up(server, home / "server.log")
            yield server
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(20)


def write_settings(folder: Path) -> None:
    """No news from the network; all cells in the document, not only those in view."""
    settings = {
        "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
        "notebook-extension/tracker": {"windowingMode": "none"},
    }
    for name, values in settings.items():
        path = folder / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))


def start_lab(server: Lab, home: Path, log: Any) -> "subprocess.Popen[bytes]":
    folders = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    environment = os.environ | {name: str(home / folder) for name, folder in folders.items()}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    environment["PYTHONPATH"] = f"{ROOT}:{ROOT / 'tests'}"
    port = server.url.rpartition(":")[2]
    options = [
        "--no-browser",
        f"--port={port}",
        "--ServerApp.ip=127.0.0.1",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={server.token}",
        f"--ServerApp.root_dir={server.root}",
        "--LabApp.expose_app_in_browser=True",
        *(["--allow-root"] if os.geteuid() == 0 else []),
    ]
    command = [sys.executable, "-m", "jupyterlab", *options]
    return subprocess.Popen(
        command, env=environment, stdout=log, stderr=log, start_new_session=True
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_up(server: Lab, log: Path) -> None:
    for _ in range(150):
        try:
            urllib.request.urlopen(f"{server.url}/api?token={server.token}", timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")
