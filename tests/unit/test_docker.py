"""What can be checked of docker/ where no daemon runs: no image was built here.

The compose files by their specification's schema, every command by `lycb` itself, the image's
steps as a script in a clean folder, the addresses against a real MongoDB with a password.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import yaml
from places import CAMPAIGNS, ROOT
from servers import MongoServer

from lycb_flows.campaign.descriptions import CATEGORIES

DOCKER = ROOT / "docker"
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
LYCB_SERVICES = [name for name, service in SERVICES.items() if service["command"][0] == "lycb"]
LYCB = Path(sys.executable).with_name("lycb")
NEED_AN_IMAGE = ("apt-get ", "useradd ")  # they would change this machine


def instructions():
    """(instruction, arguments) of the Dockerfile, continued lines joined."""
    text = (DOCKER / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [line.split(None, 1) for line in "\n".join(lines).replace("\\\n", " ").splitlines()]


def test_the_compose_files_follow_the_specification():
    files = [DOCKER / "compose.yaml", DOCKER / "compose.cuda.yaml"]
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_each_category_has_its_worker_and_there_is_a_reaper():
    commands = [SERVICES[name]["command"] for name in LYCB_SERVICES]
    workers = [command for command in commands if command[1] == "worker"]
    assert {command[command.index("--category") + 1] for command in workers} == set(CATEGORIES)
    assert len(workers) == len(CATEGORIES)
    assert [command[1] for command in commands].count("serve-reaper") == 1


@pytest.mark.parametrize("name", LYCB_SERVICES)
def test_every_services_command_is_one_of_lycb(lycb, name):
    code, help_text, message = lycb(*SERVICES[name]["command"][1:], "--help")
    assert code == 0, message
    assert f"lycb {SERVICES[name]['command'][1]}" in help_text


def test_mongodb_is_a_replica_set_with_a_password_on_the_loopback():
    mongodb = SERVICES["mongodb"]
    assert mongodb["image"].startswith("mongo:")
    assert mongodb["ports"] == ["127.0.0.1:27017:27017"]
    assert {"--replSet=rs0", "--keyFile=/data/configdb/key"} < set(mongodb["command"])
    assert mongodb["volumes"] == ["mongodb:/data/db"]
    assert "MONGO_INITDB_ROOT_PASSWORD" not in mongodb["environment"]
    for name in LYCB_SERVICES:
        assert SERVICES[name]["depends_on"]["mongodb"] == {"condition": "service_healthy"}
        assert "ports" not in SERVICES[name]


def test_the_password_is_in_a_file_that_git_and_the_image_never_see():
    secret = COMPOSE["secrets"]["lycb_password"]["file"]
    assert secret == "secrets/lycb_password"  # noqa: S105 - its path
    assert "secrets/" in (DOCKER / ".gitignore").read_text().splitlines()
    ignored = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in ignored
    assert not any(line.startswith("!docker") for line in ignored if "entrypoint" not in line)
    for service in SERVICES.values():
        assert service["secrets"] == ["lycb_password"]
        values = service["environment"]
        assert all(
            values[name].startswith("/run/secrets/") for name in values if "PASSWORD" in name
        )


def test_the_mounted_files_exist():
    for config in COMPOSE["configs"].values():
        assert (DOCKER / config["file"]).is_file()


def entrypoint(*command, **variables):
    return subprocess.run(
        [DOCKER / "entrypoint.sh", *command],
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_entrypoint_reads_passwords_from_files(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("a b$'\"\n")
    done = entrypoint("env", LYCB_STORE_PASSWORD_FILE=str(secret))
    assert "LYCB_STORE_PASSWORD=a b$'\"" in done.stdout.splitlines()
    assert "_FILE" not in done.stdout
    assert "LYCB_LAUNCHPAD_PASSWORD" not in done.stdout


def test_an_unreadable_password_file_is_one_line(tmp_path):
    done = entrypoint("env", LYCB_LAUNCHPAD_PASSWORD_FILE=str(tmp_path / "absent"))
    assert done.returncode == 1
    assert "LYCB_LAUNCHPAD_PASSWORD: cannot read" in done.stderr
    assert done.stdout == ""


def make_python(folder):
    """The bin folder of an environment on top of ours, its `pip` included."""
    venv.create(folder)
    site_packages = next(path for path in sys.path if path.endswith("site-packages"))
    (packages,) = folder.glob("lib/*/site-packages")
    (packages / "ours.pth").write_text(f"{site_packages}\n")
    pip = folder / "bin" / "pip"
    pip.write_text(f'#!/bin/sh\nexec {folder}/bin/python -m pip "$@"\n')
    pip.chmod(0o755)
    return folder / "bin"


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A folder in the image's place after its COPY and RUN steps.

    Its Python sees this machine's packages, so that nothing large is fetched again.
    """
    root = tmp_path_factory.mktemp("image")
    python = make_python(root / "venv")
    environment = {
        **os.environ,
        "PATH": f"{python}:{os.environ['PATH']}",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    workdir = root
    for instruction, arguments in instructions():
        if instruction == "ARG":
            environment.update([arguments.split("=", 1)])
        elif instruction == "WORKDIR":
            workdir = root / arguments.lstrip("/")
            workdir.mkdir(exist_ok=True)
        elif instruction == "COPY":
            copy(arguments, workdir, root)
        elif instruction == "RUN" and not arguments.startswith(NEED_AN_IMAGE):
            subprocess.run(["/bin/sh", "-ec", arguments], cwd=workdir, env=environment, check=True)
    return root


def copy(arguments, workdir, root):
    """Only from what the ignore file lets into the build."""
    *sources, target = [word for word in arguments.split() if not word.startswith("--")]
    target = root / target.lstrip("/") if target.startswith("/") else workdir / target
    allowed = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    for source in sources:
        assert f"!{source}" in allowed
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / source).is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / source, target, ignore=ignore)
        else:
            shutil.copy(ROOT / source, target)


@pytest.mark.torture
def test_the_images_steps_install_lycb(image):
    lycb = image / "venv" / "bin" / "lycb"
    done = subprocess.run([lycb, "--help"], capture_output=True, text=True, check=True)
    assert "worker" in done.stdout


@pytest.mark.torture
def test_the_installed_package_is_whole(image):
    """Templates, sources to compile and built-in parents come with it, and nothing of ours."""
    installed = next((image / "venv").glob("lib/*/site-packages/lycb_flows"))
    files = {
        path.relative_to(ROOT / "lycb_flows")
        for path in (ROOT / "lycb_flows").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert all((installed / file).exists() for file in files)
    assert not (image / "src" / "tests").exists()


@pytest.mark.torture
def test_the_entrypoint_starts_what_the_image_has(image):
    done = subprocess.run(
        [image / "usr/local/bin/lycb-entrypoint", "lycb", "--help"],
        env={**os.environ, "PATH": f"{image / 'venv' / 'bin'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "worker" in done.stdout


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, mongo_server):  # noqa: ARG001 - where there is no mongod, not run
    """A MongoDB as compose.yaml makes it."""
    with MongoServer(tmp_path_factory.mktemp("guarded"), auth=True) as server:
        yield server


def lycb_at(server, launchpad, folder, environment, *arguments):
    """`lycb` in a process of its own, with a server's port in place of the usual one."""
    launchpad = yaml.safe_load((DOCKER / launchpad).read_text())
    launchpad |= {"host": "127.0.0.1", "port": server.port}
    (folder / "launchpad.yaml").write_text(yaml.safe_dump(launchpad))
    here = f"127.0.0.1:{server.port}"
    store = re.sub(r"@[^/]+/", f"@{here}/", environment["LYCB_STORE"])
    passwords = dict.fromkeys(("LYCB_STORE_PASSWORD", "LYCB_LAUNCHPAD_PASSWORD"), server.password)
    return subprocess.run(
        [LYCB, *arguments, "--launchpad", folder / "launchpad.yaml"],
        env={**os.environ, "LYCB_BLOBS": "gridfs", "LYCB_STORE": store, **passwords},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_campaign_is_submitted_from_outside_and_seen_inside(guarded, tmp_path):
    told = (ROOT / "docs" / "service.md").read_text()
    outside = {"LYCB_STORE": re.search(r"LYCB_STORE='(.+directConnection=true)'", told).group(1)}
    campaign = CAMPAIGNS / "loop.yaml"
    files = (guarded, "launchpad.outside.yaml", tmp_path, outside)
    done = lycb_at(*files, "submit", campaign)
    assert done.returncode == 0, done.stderr
    assert "submitted" in done.stdout
    inside = SERVICES["worker-light"]["environment"]
    done = lycb_at(guarded, "launchpad.yaml", tmp_path, inside, "status", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["campaign"] == yaml.safe_load(campaign.read_text())["name"]
    assert guarded.password not in done.stdout + done.stderr
