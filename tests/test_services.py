"""The servers of the tests: shared, gone with their last user however it ends, and required where `.ci/run` says so."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import services
import yaml

ROOT = Path(__file__).parents[1]
USER = """
import sys, time
from pathlib import Path
import services
with services.shared(Path(sys.argv[1])) as urls:
    print(urls["QUANTALPHA_REDIS_URL"], flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def installed():
    if services.absent() and os.environ.get("QUANTALPHA_SERVICES") != "required":
        pytest.skip(f"{', '.join(services.absent())}: not installed")


def user(folder: Path) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
    command = [sys.executable, "-c", USER, str(folder)]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def listens(url: str) -> bool:
    parts = urlsplit(url)
    with socket.socket() as probe:
        return probe.connect_ex((parts.hostname, parts.port)) == 0


def until(true) -> None:
    limit = time.monotonic() + 60
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_users_share_servers_that_end_with_the_last_though_it_be_killed(tmp_path):
    first, second = user(tmp_path), user(tmp_path)
    urls = json.loads((tmp_path / "services.json").read_text()) if first.stdout.readline() == (url := second.stdout.readline()) else {}
    assert len(urls) == 3 and url.strip() in urls.values() and all(map(listens, urls.values()))
    assert {urlsplit(each).hostname for each in urls.values()} == {"127.0.0.1"}
    first.communicate("")
    assert all(map(listens, urls.values())), "the second still uses them"
    second.send_signal(signal.SIGKILL)
    second.communicate()
    until(lambda: not any(map(listens, urls.values())))
    third = user(tmp_path)
    assert third.stdout.readline() not in ("", url)
    third.communicate("")


def test_in_the_foreground_they_end_at_a_signal():
    command = [sys.executable, str(ROOT / "tests/services.py"), "run"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        lines = [process.stdout.readline().strip() for _ in services.SERVERS]
        assert all(re.fullmatch(r"QUANTALPHA_(POSTGRES|REDIS|INFLUX)_URL=\S+", line) for line in lines)
        urls = [line.partition("=")[2] for line in lines]
        assert all(map(listens, urls))
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert not any(map(listens, urls))


def test_a_killed_keeper_takes_its_servers_along():
    """Its folder stays: in one that ends here."""
    command = [sys.executable, str(ROOT / "tests/services.py"), "run"]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"TMPDIR": folder}, text=True) as process:
            urls = [process.stdout.readline().strip().partition("=")[2] for _ in services.SERVERS]
            process.send_signal(signal.SIGKILL)
        until(lambda: not any(map(listens, urls)))


@pytest.mark.parametrize("required, outcome", [("", "SKIPPED [1]"), ("required", "ERROR ")])
def test_absent_servers_skip_the_tests_or_fail_them_where_they_are_required(required, outcome):
    """In a process that finds no program but Python."""
    command = [sys.executable, "-m", "pytest", "-n", "0", "-rs", "tests/market/sinks/test_ticks.py", "-k", "arrive_in_order"]
    environment = os.environ | {"PATH": str(Path(sys.executable).parent), "QUANTALPHA_SERVICES": required}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert "redis-server, influxdb: not installed" in done.stdout and outcome in done.stdout, done.stdout
    assert (done.returncode == 0) == (not required)


def test_docker_compose_listens_on_this_machine_alone_and_holds_no_password():
    text = (ROOT / "docker-compose.yml").read_text()
    servers = yaml.safe_load(text)["services"]
    assert set(servers) == {"postgres", "redis", "influx"}
    assert all(port.startswith("127.0.0.1:") for server in servers.values() for port in server["ports"])
    named = set(re.findall(r"PASSWORD: \$\{(\w+):\?", text))
    assert len(re.findall(r"PASSWORD: ", text)) == 3 == len(named)
    assert all(re.search(rf"^# {name}=$", (ROOT / ".env.example").read_text(), re.M) for name in named)


def test_ci_requires_the_servers_and_ends_with_the_readmes_test_command():
    lines = (ROOT / ".ci/run").read_text().splitlines()
    assert "export QUANTALPHA_SERVICES=required" in lines and lines[-1] == "exec make test"
