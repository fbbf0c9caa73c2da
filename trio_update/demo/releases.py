"""The playground's apps that come as assets of releases: what is in them, their releases, how they are installed.

Contents depend on nothing but names and versions, so that they are the same in every run.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from trio_update.demo.github.server import Fault, FaultKind, GitHub, SimAsset, SimRelease

WEB_CLIENT = "webclient"
ZIP_APP = "zipapp"
TOOL = "tool"
BIG = "bigdownload"
DAMAGED = "damaged"

_OWNER = "playground"
_INSTALLED = "v1.0.0"
# Half a minute for the asset of the app that is slow.
_BIG_SIZE = 3_000_000
_BIG_RATE = 100_000.0
_COMPONENTS = 240
_ICONS = 60
_COMPONENT_SIZE = 1_500
_PROGRAMS = frozenset({"run.sh", TOOL})
# Zip files cannot say "no date", and today's would make each run's digests different.
_DATE = (2026, 1, 2, 3, 4, 6)

Contents = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class ReleaseApp:
    """One app; ``notes`` of its releases by tag, oldest first, the first of which is installed.

    ``contents`` are the files of a version, ``own`` what the user has put into the folder, ``options`` further lines
    of its section.
    """

    name: str
    type: str
    description: str
    notes: Mapping[str, str]
    contents: Callable[[str, str], Contents]
    own: Contents
    options: tuple[str, ...] = ()

    @property
    def repo(self) -> str:
        return f"{_OWNER}/{self.name}"

    def releases(self) -> Iterator[SimRelease]:
        """Its releases, oldest first."""
        for tag, notes in self.notes.items():
            title = f"{self.name.capitalize()} {tag.removeprefix('v')}"
            yield SimRelease(tag=tag, title=title, notes=notes, prerelease="-" in tag, assets=[self._asset(tag)])

    def _asset(self, tag: str) -> SimAsset:
        files = self.contents(self.name, tag)
        if self.type == "executable":
            return SimAsset(name=self.name, content=files[self.name], content_type="application/octet-stream")
        return SimAsset(name=f"{self.name}.zip", content=_zip(files))

    def install(self, folder: Path) -> None:
        """Put the oldest release where ``folder`` is to be, as the usual installers do: unpacked, and no more.

        Blocking.  Raises: OSError.
        """
        for name, content in {**self.contents(self.name, _INSTALLED), **self.own}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o755 if name in _PROGRAMS else 0o644)

    def section(self, folder: Path) -> str:
        """Its section of the configuration."""
        lines = (
            f"[update_manager {self.name}]",
            f"type: {self.type}",
            f"path: {folder}",
            f"repo: {self.repo}",
            "is_system_service: False",
            *(line.format(path=folder) for line in self.options),
            "info_tags:",
            f"  desc={self.description}",
        )
        return "\n".join(lines) + "\n"


def publish(github: GitHub) -> None:
    """Put all releases there, and the faults that are part of the game.  Blocking: packs some megabytes."""
    for app in RELEASE_APPS:
        for release in app.releases():
            github.add(app.repo, release)
    for asset in github.repos[f"{_OWNER}/{DAMAGED}"].releases[-1].assets:
        asset.digest = f"sha256:{hashlib.sha256(b'what the project has built').hexdigest()}"
    github.faults.append(Fault("assets", FaultKind.DRIP, times=None, path=f"/{BIG}.zip", rate=_BIG_RATE))
    # The limit without a token, 60 an hour, is soon used up by who plays.
    github.limit_anonymous = 1000


def _zip(files: Contents) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _DATE)
            entry.external_attr = (0o100755 if name in _PROGRAMS else 0o100644) << 16
            # Noise gets no smaller, and takes long.
            kind = zipfile.ZIP_STORED if name.endswith(".bin") else zipfile.ZIP_DEFLATED
            archive.writestr(entry, content, kind)
    return buffer.getvalue()


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"


def _release_info(name: str, version: str, **more: str) -> bytes:
    return _json({"project_name": name, "project_owner": _OWNER, "version": version, **more})


def _page(name: str, version: str, scripts: tuple[str, ...] = ()) -> dict[str, bytes]:
    """What every web client has."""
    loads = "".join(f'<script type="module" src="./{script}"></script>\n' for script in scripts)
    title = f"{name} {version}"
    head = f'<meta charset="utf-8">\n<link rel="manifest" href="./manifest.webmanifest">\n<title>{title}</title>\n'
    return {
        "index.html": f"<!doctype html>\n{head}{loads}<h1>{title}</h1>\n".encode(),
        "manifest.webmanifest": _json({"name": name, "display": "standalone", "start_url": "./"}),
        "release_info.json": _release_info(name, version),
    }


def _web_client(name: str, version: str) -> Contents:
    """As bundlers leave it: each file carries the hash of its content in its name, so that most names are new."""
    files = dict(_assets(f"component-{number}", ".js", version) for number in range(_COMPONENTS))
    # These change with no version.
    files |= dict(_assets(f"icon-{number}", ".svg", "") for number in range(_ICONS))
    files |= {"config.json": _json({"defaultLocale": "en", "instances": []}), ".version": f"{version}\n".encode()}
    return _page(name, version, tuple(sorted(files)[:1])) | files


def _assets(stem: str, suffix: str, version: str) -> tuple[str, bytes]:
    noise = random.Random(f"{stem} {version}").randbytes(_COMPONENT_SIZE // 2).hex()  # noqa: S311 - no secret
    text = (
        f"export default '{noise}'\n" if suffix == ".js" else f"<svg xmlns='http://www.w3.org/2000/svg'>{noise}</svg>\n"
    )
    content = text.encode()
    return f"assets/{stem}-{hashlib.sha256(content).hexdigest()[:8]}{suffix}", content


def _small_page(name: str, version: str) -> Contents:
    return _page(name, version)


def _big_page(name: str, version: str) -> Contents:
    files = _page(name, version)
    if version != _INSTALLED:
        # Noise, which cannot be compressed; always the same noise.
        files["assets/timelapse.bin"] = random.Random(version).randbytes(_BIG_SIZE)  # noqa: S311 - no secret
    return files


_APP = """\
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent


def main() -> int:
    user = json.loads((HERE / "data" / "user.json").read_text())
    if "--selfcheck" not in sys.argv:
        print(f"zipapp VERSION greets {user['name']}")
    return 0


sys.exit(main())
"""


def _zip_app(name: str, version: str) -> Contents:
    return {
        "app.py": _APP.replace("VERSION", version).encode(),
        "run.sh": b'#!/bin/sh\nexec python3 "$(dirname "$0")/app.py" "$@"\n',
        "data/user.json": _json({"name": "nobody"}),
        "release_info.json": _release_info(name, version),
    }


def _tool(name: str, version: str) -> Contents:
    script = f"""\
#!/bin/sh
case "$1" in
  --version) echo "{name} {version}" ;;
  --selfcheck) echo "all is well" ;;
  *) echo "usage: {name} --version | --selfcheck" >&2; exit 2 ;;
esac
"""
    return {name: script.encode(), "release_info.json": _release_info(name, version, asset_name=name)}


RELEASE_APPS = (
    ReleaseApp(
        WEB_CLIENT,
        "web",
        "a web client, two releases behind",
        {
            _INSTALLED: "The first release.",
            "v1.1.0": "## What's new\n\n- Macros can be sorted\n- The camera can be rotated\n",
            "v2.0.0": "## What's new\n\n- A dashboard\n- Dark by default\n\n## Fixes\n\n- The graph keeps its zoom\n",
            "v2.1.0-beta.1": "A preview of bed meshes in colour.",
        },
        _web_client,
        {"config.json": _json({"defaultLocale": "en", "instances": [{"hostname": "my-printer", "port": 7125}]})},
        ("persistent_files:", "  config.json"),
    ),
    ReleaseApp(
        ZIP_APP,
        "zip",
        "an application in Python, on the channel beta",
        {
            _INSTALLED: "The first release.",
            "v1.1.0": "- Greets by name\n",
            "v1.2.0-beta.1": "- Greets faster\n",
        },
        _zip_app,
        {"data/user.json": _json({"name": "Ada"})},
        (
            "channel: beta",
            "persistent_files:",
            "  data/user.json",
            "health_command: /bin/sh {path}/run.sh --selfcheck",
            "health_timeout: 10",
        ),
    ),
    ReleaseApp(
        TOOL,
        "executable",
        "a single program",
        {_INSTALLED: "The first release.", "v1.1.0": "- Checks itself\n", "v1.2.0": "- Says how to use it\n"},
        _tool,
        {"notes.txt": b"A file of the user's own.\n"},
        (f"health_command: {{path}}/{TOOL} --selfcheck", "health_timeout: 10"),
    ),
    ReleaseApp(
        BIG,
        "web",
        "its download takes half a minute: abort it",
        {_INSTALLED: "The first release.", "v1.1.0": "With a film of how it was made.\n"},
        _big_page,
        {},
    ),
    ReleaseApp(
        DAMAGED,
        "web",
        "the asset of its new version is not what was published",
        {_INSTALLED: "The first release.", "v1.1.0": "Nobody will ever see this one.\n"},
        _small_page,
        {},
    ),
)
