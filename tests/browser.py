"""A real browser for tests: headless Chromium, driven over its DevTools pipe."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--remote-debugging-pipe",
)
# Chromium reads commands from descriptor 3 and writes answers to 4.
_AT_3_AND_4 = """
import fcntl, os, sys
read, write = (fcntl.fcntl(int(n), fcntl.F_DUPFD, 10) for n in sys.argv[1:3])
os.dup2(read, 3)
os.dup2(write, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


def find() -> str | None:
    """Returns the path of a Chromium, None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """A page of the browser. Events are kept in the order they came."""

    def __init__(self, commands: Any, answers: Any) -> None:
        self._commands, self._answers = commands, answers
        self._number, self._session = 0, {}
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._session = {"sessionId": session}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Calls a DevTools method and returns its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters} | self._session
        self._commands.write(json.dumps(message).encode() + b"\0")
        self._commands.flush()
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self.events.append(answer)

    def _receive(self) -> dict[str, Any]:
        data = bytearray()
        while (byte := self._answers.read(1)) != b"\0":
            assert byte, "the browser is gone"
            data += byte
        return json.loads(data)

    def open(self, path: Path) -> None:
        """Opens a file and waits until it is loaded."""
        self._go(path.resolve().as_uri())

    def follow(self, selector: str) -> None:
        """Goes where a link leads and waits until it is loaded."""
        self._go(self.run(f"document.querySelector({json.dumps(selector)}).href"))

    def _go(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.run("new Promise(r => document.readyState == 'complete' ? r() : onload = r)")

    def run(self, script: str) -> Any:
        """Returns the value of a JavaScript expression, a promise's once it is there."""
        found = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, condition: str) -> None:
        """Waits until a JavaScript condition holds, for at most a minute."""
        script = f"""new Promise((done, fail) => {{
            const start = Date.now();
            const look = () => ({condition}) ? done()
                : Date.now() - start > 60000 ? fail(new Error({json.dumps(condition)}))
                : setTimeout(look, 20);
            look();
        }})"""
        self.run(script)

    def press(self, key: str) -> None:
        """Presses and releases a key, such as ArrowRight, in what has the focus."""
        code = {"ArrowLeft": 37, "ArrowRight": 39}[key]
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code
            )

    def problems(self) -> list[str]:
        """Returns what went wrong so far: exceptions, and messages of level error or warning."""
        found = []
        for event in self.events:
            parameters = event.get("params", {})
            match event.get("method"):
                case "Runtime.exceptionThrown":
                    found.append(str(parameters["exceptionDetails"]))
                case "Runtime.consoleAPICalled" if parameters["type"] in ("error", "warning"):
                    found.append(str(parameters["args"]))
                case "Log.entryAdded" if parameters["entry"]["level"] in ("error", "warning"):
                    found.append(str(parameters["entry"]))
        return found

    def requests(self) -> list[str]:
        """Returns the addresses that were asked for, but those of data within the page."""
        urls = [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]
        return [url for url in urls if not url.startswith("data:")]


@contextmanager
def browse(chromium: str, profile: Path, width: int = 1280, height: int = 900) -> Iterator[Page]:
    """Starts a browser with a profile of its own and gives a page of it."""
    read, commands = os.pipe()
    answers, write = os.pipe()
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", _AT_3_AND_4, str(read), str(write), chromium),
            *OPTIONS,
            f"--user-data-dir={profile}",
            f"--window-size={width},{height}",
        ],
        pass_fds=(read, write),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(read)
    os.close(write)
    try:
        with os.fdopen(commands, "wb") as to, os.fdopen(answers, "rb") as back:
            yield Page(to, back)
    finally:
        process.kill()
        process.wait()
