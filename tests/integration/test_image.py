"""The image without Docker: the Dockerfile's own build steps here, then a root file system that holds nothing else, entered
with chroot as a stranger, as a container would. Multi-arch builds, buildx's SBOM and HEALTHCHECK's timing need Docker
and are not tested.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from proxy.cli.main import VERBS
from tests.support.client import get
from tests.support.config import bootstrap, cluster, http_listener, route_to, virtual_host
from tests.support.netns import Namespace, why_not
from tests.support.ports import free_port
from tests.support.upstream import Upstream

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
TOOLS = (
    "nft",
    "iptables",
    "ip6tables",
    "iptables-restore",
    "ip6tables-restore",
    "iptables-save",
    "ip6tables-save",
    "ip",  # the address that inbound IPv6 comes from, and TPROXY's routes
)
NONROOT = 65532
VERBS_OF_CAPTURE = ("show", "apply", "clean")
WAIT_S = 30.0


def test_the_dockerfile_is_what_it_says() -> None:
    """Stages, user, health check, entry point; every file it copies is there and let in by .dockerignore."""
    assert re.findall(r"^FROM .* AS (\w+)$", DOCKERFILE, re.MULTILINE) == ["build", "debug", "slim"]
    assert DOCKERFILE.count(f"\nUSER {NONROOT}:{NONROOT}\n") == 2
    assert DOCKERFILE.count('CMD ["outrider", "ready", "-q"]') == 2 and "ready" in VERBS
    assert "FROM scratch AS slim" in DOCKERFILE and not re.search(
        r"^RUN .*\n(?!.*FROM)", DOCKERFILE.split("AS slim")[1], re.MULTILINE
    )
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists() and source in allowed, source
    assert re.findall(r"--tool (\S+)", DOCKERFILE) == list(TOOLS)
    assert (
        "org.opencontainers.image.licenses" in DOCKERFILE
        and "--platform linux/amd64,linux/arm64" in DOCKERFILE
    )


class Image:
    """A root file system, entered by chroot."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(
        self, *argv: str, user: int = NONROOT, namespace: Namespace | None = None
    ) -> subprocess.Popen[str]:
        """namespace: whose network it has"""

        def enter() -> None:
            if namespace is not None:
                namespace.enter()
            os.chroot(self.folder)
            os.chdir("/")
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)

        environment = dict(re.findall(r"([A-Z_]+)=(\S+)", DOCKERFILE.split("AS slim")[1].split("LABEL")[0]))
        return subprocess.Popen(
            argv,
            preexec_fn=enter,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *argv: str, user: int = NONROOT, namespace: Namespace | None = None) -> tuple[int, str]:
        process = self.start(*argv, user=user, namespace=namespace)
        out, _ = process.communicate(timeout=60)
        return process.returncode, out


def pip(*arguments: str) -> None:
    argv = [sys.executable, "-m", "pip", *arguments]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """The Dockerfile's steps: wheel, then root. The pure wheel: `make native` is tested elsewhere."""
    if os.geteuid() != 0:
        pytest.skip("chroot needs root")
    if shutil.which("ldd") is None:
        pytest.skip("ldd is not installed here")
    folder = tmp_path_factory.mktemp("image")
    source = folder / "source"
    shutil.copytree(ROOT / "proxy", source / "proxy", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for name in ("constraints.txt", "pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    pip("wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder / "wheel"), str(source))
    (wheel,) = (folder / "wheel").glob("*.whl")
    tools = [part for name in TOOLS if shutil.which(name) for part in ("--tool", name)]
    argv = [sys.executable, str(ROOT / "config/image/make_root.py"), "--root", str(folder / "root"), *tools]
    argv += ["--constraints", str(ROOT / "constraints.txt"), "--requirement", f"{wheel}[brotli,zstd,inject]"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    print(f"size of the image: {done.stdout.strip()}")
    # what is between the root and this test's temporary folder is not the image's
    for above in (folder, folder.parent):
        above.chmod(0o755)
    yield Image(folder / "root")


@pytest.mark.slow
@pytest.mark.timeout(600)
class TestImage:
    def test_verbs(self, image: Image) -> None:
        assert image.run("/usr/local/bin/outrider", "version")[1].startswith("outrider ")
        for verb in VERBS:
            if verb != "version":
                code, out = image.run("/usr/local/bin/outrider", verb, "--help")
                assert code == 0, f"{verb}: {out}"

    def test_it_serves(self, image: Image) -> None:
        upstream, port, admin = Upstream(), free_port(), free_port()
        gzip = {
            "name": "brotli",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.compressor.v3.Compressor",
                "compressor_library": {
                    "name": "brotli",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.compression.brotli.compressor.v3.Brotli"
                    },
                },
            },
        }
        router = {
            "name": "router",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
        }
        listener = http_listener(port, [virtual_host([route_to("up")])], hcm={"http_filters": [gzip, router]})
        config = bootstrap(admin, [listener], [cluster("up", upstream.port)])
        (image.folder / "etc" / "envoy.json").write_text(json.dumps(config))
        process = image.start("/usr/local/bin/outrider", "run", "-c", "/etc/envoy.json")
        try:
            url = f"http://127.0.0.1:{admin}/ready"
            code, out = image.run("/usr/local/bin/outrider", "ready", "--url", url, "--wait", f"{WAIT_S:g}s")
            assert (code, out) == (0, "ready\n")
            assert get(port).body == b"ok"
        finally:
            process.terminate()
            process.communicate(timeout=WAIT_S)
            upstream.close()
        assert image.run("/usr/local/bin/outrider", "ready", "-q", "--url", url) == (1, "")

    def test_there_is_no_shell(self, image: Image) -> None:
        for name in ("sh", "bash", "dash", "busybox", "pip", "pip3", "apt-get"):
            assert not [
                path for path in image.folder.rglob(name) if path.is_file() and os.access(path, os.X_OK)
            ]

    def test_nobody_can_write_but_where_it_is_meant(self, image: Image) -> None:
        writable = [
            str(path.relative_to(image.folder))
            for path in image.folder.rglob("*")
            if not path.is_symlink() and path.stat().st_mode & 0o002
        ]
        assert writable == ["tmp"]
        assert not [path for path in image.folder.rglob("*") if path.lstat().st_mode & 0o6000], "set-uid"

    def test_nothing_is_compiled_at_the_start(self, image: Image) -> None:
        """A read-only root cannot keep what is compiled, so all of it is there."""
        sources = set((image.folder / "opt/outrider/proxy").rglob("*.py"))
        compiled = {
            path.parent.parent / f"{path.name.partition('.')[0]}.py"
            for path in (image.folder / "opt/outrider/proxy").rglob("*.pyc")
        }
        assert sources <= compiled

    def test_the_capture_rules_tools_run(self, image: Image) -> None:
        if shutil.which("nft") is None:
            pytest.skip("nft is not installed here")
        found = [path for path in image.folder.rglob("nft") if path.is_file()]
        code, out = image.run("/" + str(found[0].relative_to(image.folder)), "--version", user=0)
        assert code == 0 and out.startswith("nftables")

    @pytest.mark.parametrize("backend", ["auto", "nft"])
    def test_traffic_is_captured_from_the_image(self, image: Image, backend: str) -> None:
        """As the init container does it, with nothing but what is in the image; IPv6 needs ``ip``."""
        missing = why_not("iptables", "nft")
        if missing:
            pytest.skip(missing)
        argv = ("/usr/local/bin/outrider", "iptables")
        with Namespace() as pod:
            done = [
                image.run(*argv, verb, "--backend", backend, "--ipv6", "on", user=0, namespace=pod)
                for verb in VERBS_OF_CAPTURE
            ]
            assert "::6/128" not in pod.run("ip", "-6", "addr").stdout
        assert [code for code, _ in done] == [0, 0, 0], done
        assert "IPv4 and IPv6" in done[1][1] and "removed" in done[2][1]

    def test_the_bill_of_materials(self, image: Image) -> None:
        bill = json.loads((image.folder / "usr/share/sbom/outrider.cdx.json").read_text())
        names = {one["name"].lower(): one["version"] for one in bill["components"]}
        assert bill["bomFormat"] == "CycloneDX" and names["python"] == ".".join(
            map(str, sys.version_info[:3])
        )
        pinned = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
        for name in ("uvloop", "httptools", "protobuf", "brotli"):
            assert names[name] == pinned[name]
        installed = {
            path.name.partition("-")[0].lower().replace("_", "-").replace(".", "-")
            for path in (image.folder / "opt/outrider").glob("*.dist-info")
        }
        assert installed <= {name.replace("_", "-").replace(".", "-") for name in names}

    def test_its_size(self, image: Image) -> None:
        paths: Sequence[Path] = [
            path for path in image.folder.rglob("*") if path.is_file() and not path.is_symlink()
        ]
        total = sum(path.stat().st_size for path in paths) / 1e6
        print(f"{total:.0f} MB in {len(paths)} files")
        assert total < 150
