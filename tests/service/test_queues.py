"""Queue adapters render for Slurm and PBS, and a real qlaunch starts real workers with them."""

import sys
from pathlib import Path

import pytest
import yaml
from fireworks import Firework, LaunchPad, ScriptTask, Workflow
from fireworks.user_objects.queue_adapters.common_adapter import CommonAdapter
from slurm import qlaunch, wait_for_file

from lycb_flows.errors import InputError
from lycb_flows.service.qadapter import QueueConfig, check_queue_config, write_qadapter

BIN = Path(sys.executable).parent
FULL = QueueConfig(
    queue="gpu_short",
    account="li-ion",
    walltime_minutes=90,
    cpus_per_task=8,
    gpus=1,
    memory_gb=32,
    category=("gpu", "light"),
    n_launches=5,
    launchpad=Path("/shared/launchpad.yaml"),
    pre_rocket=("module load cuda", 'export LYCB_STORE="$HOME/store"'),
)
WORKER = (
    f"exec {BIN}/lycb worker --category gpu --category light --launchpad /shared/launchpad.yaml "
    "--nlaunches 5 --max-idle-s 300 --walltime-minutes 88"
)


@pytest.mark.parametrize(
    ("command", "written"),
    [
        ("rlaunch singleshot", f"exec {BIN}/rlaunch singleshot"),
        ("srun rlaunch singleshot", "exec srun rlaunch singleshot"),
        ("/opt/bin/rlaunch rapidfire", "exec /opt/bin/rlaunch rapidfire"),
    ],
)
def test_a_program_of_our_environment_has_its_path_as_a_batch_job_has_another(
    command, written, tmp_path
):
    assert written in rendered(FULL.model_copy(update={"command": command}), tmp_path)


def rendered(config, folder):
    """The lines of the script that qlaunch would submit."""
    path = folder / "my_qadapter.yaml"
    path.unlink(missing_ok=True)  # another one stays
    write_qadapter(config, path)
    adapter = CommonAdapter.from_file(str(path))
    lines = adapter.get_script_str(str(folder)).splitlines()
    return [line for line in lines if line and not line.startswith("# ")]


def test_slurms_script_line_by_line(tmp_path):
    assert rendered(FULL, tmp_path) == [
        "#!/bin/bash -l",
        "#SBATCH --nodes=1",
        "#SBATCH --ntasks-per-node=1",
        "#SBATCH --cpus-per-task=8",
        "#SBATCH --gpus-per-node=1",
        "#SBATCH --time=01:30:00",
        "#SBATCH --partition=gpu_short",
        "#SBATCH --account=li-ion",
        "#SBATCH --job-name=lycb",
        "#SBATCH --output=lycb-%j.out",
        "#SBATCH --error=lycb-%j.error",
        "#SBATCH --signal=B:USR1@120",
        "#SBATCH --mem=32G",
        "export LYCB_PROCESSES=8",
        "export LYCB_DEVICE=cuda",
        "module load cuda",
        'export LYCB_STORE="$HOME/store"',
        f"cd {tmp_path}",
        WORKER,
    ]


def test_pbs_script_line_by_line(tmp_path):
    pbs = FULL.model_copy(update={"queue_type": "PBS", "nodes": 2, "tasks_per_node": 4})
    assert rendered(pbs, tmp_path) == [
        "#!/bin/bash -l",
        "#PBS -N lycb",
        "#PBS -l select=2:ncpus=32:mpiprocs=4:ngpus=1:mem=32gb",
        "#PBS -l walltime=01:30:00",
        "#PBS -q gpu_short",
        "#PBS -A li-ion",
        "#PBS -j oe",
        "export LYCB_PROCESSES=8",
        "export LYCB_DEVICE=cuda",
        "module load cuda",
        'export LYCB_STORE="$HOME/store"',
        f"cd {tmp_path}",
        WORKER,
    ]


@pytest.mark.parametrize(
    ("queue_type", "wanted"),
    [
        ("SLURM", ["#SBATCH --gpus-per-node=4", "#SBATCH --cpus-per-task=32"]),
        ("PBS", ["#PBS -l select=1:ncpus=32:mpiprocs=1:ngpus=4:mem=32gb"]),
    ],
)
def test_four_gpus_are_four_workers(tmp_path, queue_type, wanted):
    four = FULL.model_copy(update={"gpus": 4, "queue_type": queue_type})
    lines = rendered(four, tmp_path)
    assert set(wanted) <= set(lines)
    assert "export LYCB_PROCESSES=8" in lines
    assert lines[-1] == WORKER.replace("--max-idle-s", "--workers 4 --max-idle-s")
    plain = rendered(four.model_copy(update={"command": "rlaunch multi 4"}), tmp_path)
    assert "cpus-per-task=32" not in "".join(plain)
    halves = rendered(four.model_copy(update={"workers": 8}), tmp_path)
    assert "--workers 8" in halves[-1]


@pytest.mark.parametrize("queue_type", ["SLURM", "PBS"])
def test_what_is_not_said_is_left_to_the_queue(tmp_path, queue_type):
    text = "\n".join(rendered(QueueConfig(queue_type=queue_type), tmp_path))
    assert "=None" not in text
    assert not any(word in text for word in ("partition", "account", "-q", "-A", "mem", "gpus"))
    assert "LYCB_DEVICE" not in text
    assert "--launchpad" not in text


def test_the_adapter_survives_fireworks_own_copy(tmp_path):
    write_qadapter(FULL.model_copy(update={"queue_type": "PBS"}), tmp_path / "q.yaml")
    adapter = CommonAdapter.from_file(str(tmp_path / "q.yaml"))
    copied = CommonAdapter.from_dict(adapter.to_dict())
    assert copied.get_script_str("/x") == adapter.get_script_str("/x")


def test_a_relative_launchpad_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = rendered(QueueConfig(launchpad=Path("my_launchpad.yaml")), tmp_path)
    assert f"--launchpad {tmp_path}/my_launchpad.yaml " in lines[-1]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"walltime_minutes": 1}, ("walltime_minutes", "found=1")),
        ({"walltime_minutes": 2, "signal_before_s": 100}, ("less than a minute",)),
        ({"queue": "gpu\n#SBATCH --exclusive"}, ("queue", "letters")),
        ({"pre_rocket": ["a\nb"]}, ("pre_rocket.0",)),
        ({"queue_type": "SGE"}, ("queue_type", "SGE")),
        ({"wall": 3}, ("wall",)),
        ({"category": []}, ("category",)),
    ],
)
def test_a_bad_field_is_one_line(fields, words):
    with pytest.raises(InputError) as caught:
        check_queue_config(fields)
    line = str(caught.value)
    assert "\n" not in line
    assert all(word in line for word in words), line


def test_a_file_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"cannot write the queue adapter .*No such file"):
        write_qadapter(QueueConfig(), tmp_path / "absent" / "q.yaml")


def test_an_edited_adapter_is_not_replaced(tmp_path):
    path = tmp_path / "q.yaml"
    for _ in range(2):  # the same again is no loss
        write_qadapter(QueueConfig(queue="gpu"), path)
    edited = path.read_text() + "# mine\n"
    path.write_text(edited)
    with pytest.raises(InputError, match="another content"):
        write_qadapter(QueueConfig(queue="gpu"), path)
    assert path.read_text() == edited


def in_queue(command, **fields):
    """For the tests' Slurm, whose node has no GPU."""
    return QueueConfig(queue="debug", walltime_minutes=10, command=command, **fields)


@pytest.fixture
def listener(tmp_path):
    """A command that waits for a signal and writes its name into `told`."""
    file = tmp_path / "listener.py"
    file.write_text(
        "import pathlib, signal, sys\n"
        "def tell(number, _):\n"
        "    pathlib.Path('told').write_text(signal.Signals(number).name)\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGUSR1, tell)\n"
        "signal.signal(signal.SIGTERM, tell)\n"
        "pathlib.Path('listens').touch()\n"
        "while True: signal.pause()\n"
    )
    return f"{sys.executable} {file}"


def script_of(config, folder):
    write_qadapter(config, folder / "q.yaml")
    return CommonAdapter.from_file(str(folder / "q.yaml")).get_script_str(str(folder))


def test_slurms_warning_reaches_the_worker_itself(slurm, listener, tmp_path):
    script = script_of(in_queue(listener, signal_before_s=60), tmp_path)
    early = script.replace("B:USR1@60", "B:USR1@592")  # of 600 s; it listens by then
    job = slurm.sbatch(early, folder=tmp_path)
    assert slurm.wait_for(job) == "COMPLETED"
    assert (tmp_path / "told").read_text() == "SIGUSR1"


def test_scancel_gives_the_worker_time_to_save(slurm, listener, tmp_path):
    job = slurm.sbatch(script_of(in_queue(listener), tmp_path), folder=tmp_path)
    wait_for_file(tmp_path / "listens")
    slurm.scancel(job)
    assert slurm.wait_for(job) == "CANCELLED"
    wait_for_file(tmp_path / "told")
    assert (tmp_path / "told").read_text() == "SIGTERM"


@pytest.fixture
def launchpad(launchpad_file):
    launchpad = LaunchPad.from_file(str(launchpad_file))
    launchpad.reset("", require_password=False)
    yield launchpad
    launchpad.connection.close()


def test_qlaunch_runs_a_workflow_on_slurm(slurm, launchpad, launchpad_file, tmp_path):
    said = tmp_path / "said"
    jobs = [Firework(ScriptTask.from_str(f"echo {i} >> {said}"), name=str(i)) for i in range(4)]
    links = {jobs[0]: jobs[1:3], jobs[1]: jobs[3], jobs[2]: jobs[3]}
    launchpad.add_wf(Workflow(jobs, links))
    fworker_file, qadapter_file = tmp_path / "my_fworker.yaml", tmp_path / "my_qadapter.yaml"
    fworker_file.write_text(yaml.safe_dump({"name": "slurm", "category": "", "query": "{}"}))
    rlaunch = f"{BIN}/rlaunch -l {launchpad_file} -w {fworker_file} rapidfire"
    write_qadapter(in_queue(rlaunch), qadapter_file)

    before = slurm.job_ids()
    qlaunch(launchpad_file, fworker_file, qadapter_file, tmp_path, 1)

    (submitted,) = slurm.job_ids() - before
    assert slurm.wait_for(submitted) == "COMPLETED"
    assert sorted(said.read_text().split()) == ["0", "1", "2", "3"]
    assert launchpad.get_fw_ids({"state": "COMPLETED"}, count_only=True) == 4
