"""What injection makes of the manifests beside this file, and config/sidecar-captured.yaml. ``python -m tests.inject.goldens``
writes them anew; read the difference before committing it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml

from proxy.cli.sidecar import parser, settings_of
from proxy.inject.manifests import change
from proxy.inject.pod import Outcome, Policy, inject, uninject, version
from proxy.inject.settings import Settings
from proxy.sidecar.bootstrap import make_bootstrap

FOLDER = Path(__file__).parent
MANIFESTS = sorted((FOLDER / "manifests").iterdir())
#: name of the goldens' folder → Kubernetes version: native sidecars, and none
VERSIONS = {"native": "1.33", "classic": "1.28"}


@cache
def injected(text: str, kubernetes: str) -> tuple[str, list[Outcome]]:
    """The manifests as a cluster of that version would get them."""
    policy = Policy(Settings(), True, version(kubernetes))
    return change(text, lambda workload: inject(workload, policy))


def taken_out(text: str) -> tuple[str, list[Outcome]]:
    """And back."""
    return change(text, uninject)


def golden(manifest: Path, kind: str) -> Path:
    """Where its golden is."""
    return FOLDER / "goldens" / kind / manifest.name


def said(manifest: Path, outcomes: list[Outcome]) -> list[str]:
    """What is said of each workload."""
    return [f"{manifest.name}: {one.workload} {'injected' if one.changed else one.why}" for one in outcomes]


def main() -> None:
    for kind, kubernetes in VERSIONS.items():
        lines: list[str] = []
        for manifest in MANIFESTS:
            text, outcomes = injected(manifest.read_text(), kubernetes)
            path = golden(manifest, kind)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            lines += said(manifest, outcomes)
        (FOLDER / "goldens" / f"{kind}.txt").write_text("\n".join(lines) + "\n")
    write_captured(FOLDER.parents[1] / "config" / "sidecar-captured.yaml")


def write_captured(path: Path) -> None:
    """The file's own head names the command that it is made by."""
    head = "".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("#"))
    _, _, command = head.partition("#   outrider sidecar ")
    args = parser().parse_args(["--no-ipv6", *command.splitlines()[0].split()])
    path.write_text(
        head + yaml.dump(make_bootstrap(settings_of(args)), Dumper=_Plain, sort_keys=False, width=120)
    )


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


if __name__ == "__main__":
    main()
