"""What a log tells beside numbers: each kind of line, and the look-alikes that are none."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import characters, from_regex

from postmortem.model.run import EventKind as K
from postmortem.model.run import LogEvent
from postmortem.sources import read_run
from postmortem.sources.logs.crash import is_suspicious
from postmortem.sources.logs.crash_rules import RULES
from postmortem.sources.logs.effort import Effort
from postmortem.sources.logs.text import READER
from postmortem.sources.logs.text.noise import Sieve, Told
from postmortem.sources.outcome import of_the_last_job
from postmortem.sources.reader import Candidate
from tests.sources.matching import texts


def events(folder: Path, text: str) -> tuple[LogEvent, ...]:
    data = text.encode()
    (folder / "job.out").write_bytes(data)
    return READER.read(Candidate(folder, "job.out", len(data), data[:4096], frozenset())).events


LINES: list[tuple[str, K, dict[str, object]]] = [
    ("RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 15.78 GiB total capacity; 13.2 GiB already allocated)", K.OUT_OF_MEMORY, {"where": "device", "asked": "2.00 GiB", "capacity": "15.78 GiB", "exception": "RuntimeError"}),
    ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 26.00 MiB. GPU 1 has a total capacity of 47.43 GiB of which 25.69 MiB is free.", K.OUT_OF_MEMORY, {"asked": "26.00 MiB", "capacity": "47.43 GiB"}),
    ("[rank3]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 26.00 MiB.", K.OUT_OF_MEMORY, {"where": "device"}),
    ("jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 123 bytes.", K.OUT_OF_MEMORY, {"where": "device"}),
    ("slurmstepd: error: Detected 1 oom-kill event(s) in step 77.0 cgroup.", K.OUT_OF_MEMORY, {"where": "host"}),
    ("srun: error: node-01: task 4: Out Of Memory", K.OUT_OF_MEMORY, {"where": "host"}),
    ("Killed", K.KILLED, {"signal": 9}),
    ("/var/spool/job/slurm_script: line 23: 427394 Killed                  python train.py", K.KILLED, {"signal": 9}),
    ("RuntimeError: DataLoader worker (pid 8102) is killed by signal: Terminated.", K.DATA_LOADER, {"signal": "Terminated"}),
    ("ERROR: Unexpected bus error encountered in worker. This might be caused by insufficient shared memory (shm).", K.DATA_LOADER, {"about": "shared-memory"}),
    ("[E ProcessGroupNCCL.cpp:737] [Rank 3] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=17, OpType=ALLREDUCE, Timeout(ms)=1800000) ran for 1802212 milliseconds before timing out.", K.COLLECTIVE, {"about": "timeout", "sequence": 17, "operation": "ALLREDUCE"}),
    ("[rank2]:[E704 13:48:58.2 ProcessGroupNCCL.cpp:1746] ProcessGroupNCCL's watchdog got stuck for 480 seconds without making progress", K.HANG, {"seconds": 480}),
    ("ncclRemoteError: A call failed possibly due to a network error or a remote process exiting prematurely.", K.COLLECTIVE, {}),
    ("torch.distributed.DistBackendError: NCCL error in: NCCLUtils.hpp:268, unhandled system error, NCCL version 2.21.5", K.COLLECTIVE, {"about": "nccl"}),
    ("ERROR:torch.distributed.elastic.multiprocessing.api:failed (exitcode: -9) local_rank: 3 (pid: 99) of binary: python", K.SIGNAL, {"exit_code": -9}),
    ("  traceback : Signal 11 (SIGSEGV) received by PID 36071", K.SIGNAL, {"signal": 11, "name": "SIGSEGV"}),
    ("srun: error: node1: tasks 0-7: Exited with exit code 1", K.SIGNAL, {"exit_code": 1}),
    ("slurmstepd: error: *** JOB 267039 ON host CANCELLED AT 2024-05-01T10:00:00 DUE TO TIME LIMIT ***", K.TIME_LIMIT, {}),
    ("slurmstepd: error: *** JOB 267039 ON host CANCELLED AT 2024-05-01T10:00:00 DUE TO PREEMPTION ***", K.PREEMPTED, {}),
    ("slurmstepd: error: *** JOB 267039 ON host CANCELLED AT 2024-05-01T10:00:00 DUE TO NODE FAILURE ***", K.HARDWARE, {}),
    ("slurmstepd: error: *** JOB 267039 ON host CANCELLED AT 2024-05-01T10:00:00 ***", K.KILLED, {"by": "slurm"}),
    ("../aten/src/ATen/native/cuda/Loss.cu:250: nll_loss: block: [0,0,0], thread: [0,0,0] Assertion `t >= 0 && t < n_classes` failed.", K.DEVICE_ASSERT, {"assertion": "t >= 0 && t < n_classes"}),
    ("RuntimeError: CUDA error: device-side assert triggered", K.DEVICE_ASSERT, {"exception": "RuntimeError"}),
    ("OSError: [Errno 28] No space left on device", K.DISK_FULL, {"exception": "OSError"}),
    ("RuntimeError: [enforce fail at inline_container.cc:337] . PytorchStreamWriter failed writing file data/12: file write failed", K.DISK_FULL, {}),
    ("RuntimeError: CUDA error: uncorrectable ECC error encountered", K.HARDWARE, {}),
    ("kernel: NVRM: Xid (PCI:0000:07:00): 79, GPU has fallen off the bus.", K.HARDWARE, {}),
    ("KeyboardInterrupt", K.INTERRUPTED, {}),
    ("Loss is nan, stopping training", K.NON_FINITE_GUARD, {}),
    ("FloatingPointError: Loss became infinite or NaN at iteration=27!", K.NON_FINITE_GUARD, {"exception": "FloatingPointError"}),
    ("RuntimeError: Function 'LogBackward0' returned nan values in its 0th output.", K.NON_FINITE_GUARD, {}),
    ("The grad norm is nan. Skipping updating the model.", K.NON_FINITE_GUARD, {}),
    ("OVERFLOW! Rank 0 Skipping step. Attempted loss scale: 65536, reducing to 32768", K.OVERFLOW, {"attempted": 65536.0, "scale": 32768.0}),
    ("Gradient overflow.  Skipping step, loss scaler 0 reducing loss scale to 16384.0", K.OVERFLOW, {"scale": 16384.0}),
    ("2023-06-29 14:47:33 | INFO | fairseq.trainer | NOTE: gradient overflow detected, ignoring gradient, setting loss scale to: 256.0", K.OVERFLOW, {"scale": 256.0}),
    ("OVERFLOW! Rank 0 Skipping step. Attempted loss scale: 1, reducing to 1", K.LOSS_SCALE_FLOOR, {"scale": 1.0}),
    ("FloatingPointError: Minimum loss scale reached (0.0001). Your loss is probably exploding.", K.LOSS_SCALE_FLOOR, {"scale": 0.0001}),
    ("Exception: Current loss scale already at minimum - cannot decrease scale anymore. Exiting run.", K.LOSS_SCALE_FLOOR, {}),
    ("train.py:9: UserWarning: Detected call of `lr_scheduler.step()` before `optimizer.step()`. In PyTorch 1.1.0", K.WARNING, {"about": "scheduler-before-optimizer"}),
    ("train.py:9: UserWarning: Using a target size (torch.Size([16])) that is different to the input size (torch.Size([16, 1])).", K.WARNING, {"about": "target-size", "target": "[16]"}),
    ("UserWarning: None of the inputs have requires_grad=True. Gradients will be None", K.WARNING, {"about": "no-input-requires-grad"}),
    ("Token indices sequence length is longer than the specified maximum sequence length for this model (700 > 512).", K.WARNING, {"about": "tokens-too-long"}),
    ("`Trainer.fit` stopped: `max_epochs=12` reached.", K.FINISHED, {}),
    ("Training completed.", K.FINISHED, {}),
    ("Epoch 00012: early stopping", K.EARLY_STOPPED, {}),
    ("The training halted by early stopping criterion.", K.EARLY_STOPPED, {}),
    ("Resuming from checkpoints/step_000540.pt (step 540, epoch 12)", K.RESUMED, {"step": 540.0}),
    ("=> loaded checkpoint 'x.pth' (epoch 7)", K.RESUMED, {"epoch": 7.0}),
    ("Saving model checkpoint to out/checkpoint-500.pt", K.CHECKPOINT_SAVED, {"path": "out/checkpoint-500.pt"}),
    ("***** Running training *****", K.STARTED, {}),
    ("train_26.py: error: unrecognized arguments: --domain_weight 0.02", K.EXCEPTION, {"exception": "SystemExit"}),
    ("Error: l.outputs == params.inputs, filters= doesn't correspond to classes= in [yolo]-layer: Success", K.EXCEPTION, {"exception": "Error"}),
    ("=== Training Failed with exit code 3 ===", K.SIGNAL, {"exit_code": 3.0}),
]  # fmt: skip


@pytest.mark.parametrize(("line", "kind", "data"), LINES, ids=[f"{k.value}-{n}" for n, (_, k, _) in enumerate(LINES)])
def test_line(tmp_path: Path, line: str, kind: K, data: dict[str, object]) -> None:
    assert is_suspicious(line)
    (event,) = events(tmp_path, f"step: 7 loss: 0.5\n{line}\n")
    assert event.kind == kind
    assert event.line == 2
    assert event.step == 7
    assert {k: event.data.get(k) for k in data} == data


HARMLESS = [
    "number of nan iterations: 0", "overflow_expert1=5.9, overflow_expert2=34.2", "|    explained_variance   | nan   |", "Region 94 Avg IOU: -nan, Class: -nan, count: 0",
    "terminate_on_nan=True", "early_stopping: 10", "EarlyStopping counter: 1 out of 5", "[config] early-stopping: 10", "early_stopping_patience = 3", "exit_status=0",
    "resume_from_checkpoint: None", "error_rate 0.25", "mean_squared_error: 0.5", "NCCL INFO Channel 00 : 44[1a000] -> 40[1a000] [send] via NET/IB/3",
    "Loading checkpoint shards: 100%|██████████| 2/2 [00:01<00:00]", "from torch.cuda import OutOfMemoryError  # noqa", "max_grad_norm 1.0 nan_policy omit",
    "except RuntimeError as error:", "save_checkpoint_every: 500", "Error bars are over five seeds", "training_loss 0.5", "detect_anomaly=False", "signal_to_noise: 3.5",
]  # fmt: skip


@pytest.mark.parametrize("line", HARMLESS)
def test_harmless(tmp_path: Path, line: str) -> None:
    assert events(tmp_path, f"step: 7 loss: 0.5\n{line}\nstep: 8 loss: 0.5\n") == ()


TRACEBACK = """Traceback (most recent call last):
  File "/home/me/project/train.py", line 156, in <module>
    main()
  File "/home/me/project/model.py", line 12, in forward
    return self.embed(x)
  File "/opt/env/lib/python3.10/site-packages/torch/nn/functional.py", line 2237, in embedding
    return torch.embedding(weight, input)
           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
IndexError: index out of range in self
"""


def test_traceback(tmp_path: Path) -> None:
    (event,) = events(tmp_path, "step: 7 loss: 0.5\n" + TRACEBACK)
    assert event.kind == K.EXCEPTION
    assert event.data["exception"] == "IndexError"
    assert event.data["message"] == "index out of range in self"
    assert event.data["frame"] == "/home/me/project/model.py:12"
    assert event.data["frame_function"] == "forward"
    assert event.line == 2
    assert event.text.startswith("Traceback")
    assert event.text.endswith("index out of range in self")


def test_tracebacks_of_ranks_interleave(tmp_path: Path) -> None:
    lines = TRACEBACK.splitlines()
    other = [line.replace("IndexError: index out of range in self", "RuntimeError: NCCL communicator was aborted") for line in lines]
    text = "".join(f"[rank0]: {a}\n[rank1]: {b}\n" for a, b in zip(lines, other, strict=True))
    found = {e.rank: e for e in events(tmp_path, text)}
    assert found[0].kind == K.EXCEPTION
    assert found[0].data["exception"] == "IndexError"
    assert found[1].kind == K.COLLECTIVE
    assert found[1].data["frame_function"] == "forward"


def test_long_traceback_is_cut_and_keeps_its_end(tmp_path: Path) -> None:
    frames = "".join(f'  File "/home/me/deep.py", line {n}, in recurse\n    return recurse(n + 1)  # {"x" * 60}\n' for n in range(500))
    (event,) = events(tmp_path, "Traceback (most recent call last):\n" + frames + "RecursionError: maximum recursion depth exceeded\n")
    assert len(event.text) <= 2000
    assert event.text.endswith("RecursionError: maximum recursion depth exceeded")


def test_a_message_of_several_lines(tmp_path: Path) -> None:
    (event,) = events(
        tmp_path,
        "RuntimeError: Error(s) in loading state_dict for Net:\n\tsize mismatch for head.weight: copying a param with shape torch.Size([11, 64])\n",
    )
    assert "size mismatch for head.weight" in str(event.data["message"])


def test_thousands_of_alike_lines_are_few_events(tmp_path: Path) -> None:
    text = "".join(f"Loss.cu:250: kernel: block: [{n},0,0], thread: [{n % 32},0,0] Assertion `t < n` failed.\n" for n in range(3000))
    assert 1 <= len(events(tmp_path, text)) <= 20


def test_the_log_says_that_it_is_done(tmp_path: Path) -> None:
    assert [e.kind for e in events(tmp_path, "step: 7 loss: 0.5\ndone.\n")] == [K.FINISHED]
    assert events(tmp_path, "done.\nstep: 7 loss: 0.5\n") == ()


def test_control_characters_do_not_reach_an_event(tmp_path: Path) -> None:
    (event,) = events(tmp_path, "RuntimeError: bad \x07\x01 thing\n")
    assert event.text == "RuntimeError: bad  thing"


@pytest.mark.parametrize("line", [
    "[1688151643.420670] [host:23489:f]        vfs_fuse.c:281  UCX  ERROR inotify_add_watch(/tmp) failed: No space left on device",
    "/var/spool/slurm/d/job21518/slurm_script: line 23: 427394 Killed                  uvicorn api_main:app --host 0.0.0.0 --port 8000",
    "run.sh: line 4: 991 Killed      /usr/bin/tensorboard --logdir runs",
])  # fmt: skip
def test_what_happened_to_something_else(tmp_path: Path, line: str) -> None:
    """A full table of inotify watches is no full disk, a server that was killed no training."""
    assert not [e for e in events(tmp_path, f"step 1 loss 0.5\n{line}\nstep 2 loss 0.4\n") if e.kind in (K.DISK_FULL, K.KILLED)]


CAUGHT = "Traceback (most recent call last):\n  File \"validate.py\", line 7, in preview\n    raise RuntimeError('bad')\nRuntimeError: bad\n"
WARNING = "host:871784:871848 [5] ibvwrap.c:94 NCCL WARN Call to ibv_open_device failed\n"


def _training(first: int, last: int) -> str:
    return "".join(f"step {n}/5000 | train_loss {9.0 / n:.6f} | lr 0.0003 | grad_norm 1.25 | tokens 524288\n" for n in range(first, last))


@pytest.mark.parametrize(("said", "kind"), [(CAUGHT, K.EXCEPTION), (WARNING, K.COLLECTIVE)])
def test_what_training_went_on_from_is_no_death(tmp_path: Path, said: str, kind: K) -> None:
    assert kind not in {e.kind for e in events(tmp_path, _training(1, 50) + said + _training(50, 600))}
    assert kind in {e.kind for e in events(tmp_path, _training(1, 600) + said)}
    # a buffer of standard output that is written out when the process ends
    assert kind in {e.kind for e in events(tmp_path, _training(1, 500) + said + _training(500, 600))}


def test_text_alone_after_an_exception_is_no_survival(tmp_path: Path) -> None:
    assert K.EXCEPTION in {e.kind for e in events(tmp_path, _training(1, 50) + CAUGHT + "waiting for the other nodes\n" * 2000)}


def test_a_launcher_that_was_told_to_end(tmp_path: Path) -> None:
    text = (
        "Traceback (most recent call last):\n"
        '  File "/env/bin/accelerate", line 7, in <module>\n    sys.exit(main())\n'
        "torch.distributed.elastic.multiprocessing.api.SignalException: Process 32645 got signal: 15\n"
    )
    (event,) = events(tmp_path, text)
    assert (event.kind, event.data["signal"]) == (K.SIGNAL, 15)


@pytest.mark.parametrize("part", range(3))
def test_whatever_a_rule_matches_is_suspicious(part: int) -> None:
    """The cheap question that is asked first never hides a line from a rule."""
    for rule in RULES[part::3]:
        made = [text for text in texts(rule.pattern, 80) if _asked(rule.pattern, text)]
        assert len(made) > 10, rule.pattern
        _hides_none(made)


@pytest.mark.slow("what Hypothesis makes of each rule, which takes a minute, beside what is made of its parts")
def test_whatever_hypothesis_makes_of_a_rule_is_suspicious() -> None:
    for rule in RULES:
        lines_of = given(from_regex(rule.pattern, alphabet=characters(min_codepoint=32, max_codepoint=126)))
        often = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
        often(lines_of(_one(rule.pattern)))()


def _one(pattern: "re.Pattern[str]") -> Callable[[str], None]:
    return lambda text: _hides_none([line for line in text.split("\n") if _asked(pattern, line)])


def _asked(pattern: "re.Pattern[str]", text: str) -> bool:
    return bool(pattern.search(text[:1000])) and "nccl info" not in text.lower()


def _hides_none(made: Sequence[str]) -> None:
    assert [text for text in made if not is_suspicious(text)] == []
    among_noise = "".join(f"nothing here\n{text}\nnor here\n" for text in made).encode()
    sieve, left, start = Sieve(among_noise, Told(Effort())), [], 0
    while start < len(among_noise):
        part = sieve.part(start)
        left, start = left + part.data.split(b"\n"), part.end
    assert b"nothing here" not in left
    assert [text for text in made if text.encode() not in left] == []


def test_memory_that_tensorflow_does_without(tmp_path: Path) -> None:
    """It says at which size it gives up asking and goes on; what it dies of is an exception."""
    said = "2021-05-09 18:30:53.337423: I tensorflow/stream_executor/cuda/cuda_driver.cc:789] failed to allocate 613.15M (642935552 bytes) from device: CUDA_ERROR_OUT_OF_MEMORY: out of memory\n"
    assert not events(tmp_path, "step 1 loss 0.5\n" + said + "step 2 loss 0.4\n")
    died = "tensorflow.python.framework.errors_impl.ResourceExhaustedError: OOM when allocating tensor with shape[32,512] and type float on GPU:0\n"
    assert K.OUT_OF_MEMORY in {e.kind for e in events(tmp_path, "step 1 loss 0.5\n" + said + died)}


def test_a_launcher_that_tells_the_end_of_what_it_started_is_no_new_beginning(tmp_path: Path) -> None:
    """Standard error comes first, and what the launcher had buffered behind it."""
    log = 'Traceback (most recent call last):\n  File "train.py", line 3, in <module>\n    main()\nRuntimeError: shapes differ\n=== Starting Training ===\n'
    died, went_on = events(tmp_path, log + "=== Training Failed with exit code 1 ===\n"), events(tmp_path, log)
    assert [e.kind for e in of_the_last_job(died)] == [K.EXCEPTION, K.STARTED, K.SIGNAL]
    assert [e.kind for e in of_the_last_job(went_on)] == [K.STARTED]


def test_what_logging_prints_of_itself_is_no_crash(tmp_path: Path) -> None:
    text = (
        "--- Logging error ---\nTraceback (most recent call last):\n"
        '  File "/usr/lib/python3.11/logging/__init__.py", line 1110, in emit\n    msg = self.format(record)\n'
        '  File "/usr/lib/python3.11/logging/__init__.py", line 377, in getMessage\n    msg = msg % self.args\n'
        "TypeError: not all arguments converted during string formatting\nCall stack:\n"
        '  File "/home/me/test.py", line 110, in <module>\n    main()\nepoch 1 loss 0.5\n'
    )
    assert not events(tmp_path, text)


def test_of_many_beginnings_the_newest_is_kept(tmp_path: Path) -> None:
    crash = 'Traceback (most recent call last):\n  File "train.py", line 1, in <module>\nValueError: no\n'
    text = "Starting training!\n" * 100 + crash + "Starting training!\nepoch 1 loss 0.5\n"
    found = events(tmp_path, text)
    assert found[-1].kind == K.STARTED
    assert not [e for e in of_the_last_job(found) if e.kind == K.EXCEPTION]


def test_a_launcher_s_cut_traceback_says_less_than_the_signal(tmp_path: Path) -> None:
    log = (
        "step 100 loss 0.5\nstep 200 loss 0.4\n"
        "ERROR:torch.distributed.elastic.multiprocessing.api:failed (exitcode: -9) local_rank: 3 (pid: 812917) of binary: /opt/conda/bin/python\n"
        "Traceback (most recent call last):\n"
        '  File "/opt/conda/bin/torchrun", line 8, in <module>\n'
        "    sys.exit(main())\n"
        '  File "/opt/conda/lib/python3.10/site-packages/torch/distributed/run.py", line 753, in run\n'
        "    elastic_launch(\n"
    )
    (tmp_path / "train.log").write_text(log)
    assert [(e.kind, e.data.get("exit_code")) for e in read_run([tmp_path]).events] == [(K.SIGNAL, -9)]
