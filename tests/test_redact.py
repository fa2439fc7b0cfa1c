"""No output tells who ran it, where, and with which keys: planted into a run, looked for in every document."""

import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from rich.console import Console

import postmortem
from postmortem.model.diagnosis import Diagnosis
from postmortem.redact import Pseudonyms, clean
from postmortem.render.terminal import render_terminal

HUGGING_FACE = "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYz012345"
GITHUB = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
FINE_GRAINED = "github_pat_" + "11ABCDEFG0abcdefghijkl_mnopqrstuvwxyz0123456789"
AWS = "AKIA" + "QWERTYUIOPASDFGH"
AWS_SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCY" + "PLANTEDKEY"
OPENAI = "sk-" + "proj-abcdefghijklmnopqrstuvwxyz0123456789"
WANDB = "0123456789abcdef" + "0123456789abcdef01234567"
PASSWORD = "Tr0ub4dor&3" + "zebra"
SLACK = "xoxb-" + "1234567890-abcdefghij"
GOOGLE = "AIza" + "SyA1234567890abcdefghijklmnopqrstuvw"
BEARER = "abcdef" + "0123456789bearertoken"

SECRETS = (HUGGING_FACE, GITHUB, FINE_GRAINED, AWS, AWS_SECRET, OPENAI, WANDB, PASSWORD, SLACK, GOOGLE, BEARER)
PEOPLE = ("jdoe", "jane.doe", "mustermann", "gpu-node17", "dgx-a100-03", "cn0421", "10.21.33.45", "example-lab.org", "winuser", "macuser")

LOG = f"""\
Job 4711 started on gpu-node17 at /home/jdoe/exp
jdoe@gpu-node17:~/exp$ python train.py --data /data/home/mustermann/imagenet
SLURM_NODELIST=dgx-a100-03
SLURM_JOB_USER=jdoe
hostname: gpu-node17
WANDB_API_KEY={WANDB}
wandb login {WANDB}
export HF_TOKEN={HUGGING_FACE}
AWS_ACCESS_KEY_ID={AWS} AWS_SECRET_ACCESS_KEY={AWS_SECRET}
Authorization: Bearer {BEARER}
cloning https://jdoe:{PASSWORD}@git.example-lab.org/team/repo.git
questions to jane.doe@example-lab.org, slack {SLACK}
MASTER_ADDR=10.21.33.45
loading C:\\Users\\winuser\\data and /Users/macuser/cache
"""
TRACEBACK = f"""\
Traceback (most recent call last):
  File "/home/jdoe/exp/train.py", line 12, in <module>
    main()
  File "/Users/macuser/lib/site-packages/hub.py", line 9, in main
    raise PermissionError("403 for token {GITHUB} of jane.doe@example-lab.org at 10.21.33.45")
PermissionError: 403 for token {GITHUB} of jane.doe@example-lab.org at 10.21.33.45
srun: error: cn0421: task 0: Exited with exit code 1
slurmstepd: error: *** STEP 4711.0 ON cn0421 CANCELLED AT 2026-01-01T00:00:00 ***
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("runs") / "exp1"
    top.mkdir()
    steps = "".join(f"step {n} loss {2.5 - n / 100:.4f} lr 0.1 tokens_per_second {1000 + n}\n" for n in range(0, 200, 2))
    (top / "train.log").write_text(LOG + steps + TRACEBACK)
    (top / "config.yaml").write_text(
        f"learning_rate: 0.1\noutput_dir: /home/jdoe/exp/out\nwandb:\n  api_key: {WANDB}\npassword: {PASSWORD}\nhub_token: {FINE_GRAINED}\nopenai: {OPENAI}\n"
        f"google: {GOOGLE}\nuser: jdoe\nhostname: gpu-node17\nemail: jane.doe@example-lab.org\ntokenizer: gpt2-tokenizer\nmax_tokens: 4096\ntoken_dim: 64\n"
        "num_tokens: 1234567890\npad_token: '<pad>'\ndata: \"C:\\\\Users\\\\winuser\\\\data\"\nmaster_addr: 10.21.33.45\nversion: 1.2.3.4\n"
    )
    torch.save(
        {"state_dict": {"encoder.token_embedding.weight": torch.zeros(4, 3), "decoder.secret_head.bias": torch.ones(3)}, "step": 100,
         "hyper_parameters": {"hf_token": HUGGING_FACE, "data_dir": "/home/mustermann/data", "token_dropout": 0.25}},
        top / "jane.doe@example-lab.org_step_100.pt",
    )  # fmt: skip
    (top / "broken_home_jdoe@gpu-node17:step_200.pt").write_bytes(b"not a checkpoint of /home/jdoe")
    (top / "events.out.tfevents.1700000000.gpu-node17.4242.0").write_bytes(b"\x18" + b"\0" * 40)
    (top / "events.out.tfevents.1700000001.dgx-a100-03.example-lab.org.77.1").write_bytes(b"")
    return top


def documents(diagnosis: Diagnosis) -> Iterator[tuple[str, str]]:
    yield "json", diagnosis.to_json()
    yield "html", diagnosis.to_html()
    yield "markdown", diagnosis.to_markdown()
    out = io.StringIO()
    render_terminal(diagnosis, Console(file=out, width=200))
    yield "terminal", out.getvalue()


@pytest.fixture(scope="module")
def redacted(run: Path) -> dict[str, str]:
    return dict(documents(postmortem.analyze(run)))


@pytest.fixture(scope="module")
def kept(run: Path) -> dict[str, str]:
    return dict(documents(postmortem.analyze(run, redact=False)))


@pytest.mark.parametrize("kind", ["json", "html", "markdown", "terminal"])
def test_no_document_holds_a_secret_or_a_name(redacted: dict[str, str], kind: str) -> None:
    found = {s: redacted[kind][max(redacted[kind].find(s) - 60, 0) :][:140] for s in (*SECRETS, *PEOPLE) if s in redacted[kind]}
    assert not found


def test_it_was_there_to_be_found(kept: dict[str, str]) -> None:
    """Without redaction the documents do hold most of them, so the test above can fail."""
    assert {s for s in (*SECRETS, *PEOPLE) if s in kept["json"]} >= {
        HUGGING_FACE, GITHUB, FINE_GRAINED, WANDB, PASSWORD, OPENAI, GOOGLE, "jdoe", "jane.doe", "gpu-node17", "dgx-a100-03", "10.21.33.45", "winuser", "macuser",
    }  # fmt: skip


def test_what_only_sounds_like_a_secret_is_kept(redacted: dict[str, str]) -> None:
    for text in (
        "gpt2-tokenizer",
        "4096",
        "token_dim",
        "1234567890",
        "<pad>",
        "tokens_per_second",
        "encoder.token_embedding.weight",
        "decoder.secret_head.bias",
    ):
        assert text in redacted["json"], text


def test_one_name_has_one_pseudonym(redacted: dict[str, str]) -> None:
    assert len(set(re.findall(r"/home/(user-\d+)/exp", redacted["json"]))) == 1


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (f"WANDB_API_KEY={WANDB}", "WANDB_API_KEY=***"),
        (f'"api_key": "{WANDB}"', '"api_key": "***"'),
        (f"wandb login {WANDB}", "wandb login ***"),
        (f"--hf_token {HUGGING_FACE} --lr 1", "--hf_token *** --lr 1"),
        (f"--password {PASSWORD} --lr 1", "--password *** --lr 1"),
        (f"password: '{PASSWORD}'", "password: '***'"),
        (f"Bearer {BEARER}", "Bearer ***"),
        (f"https://x:{PASSWORD}@host.org/a", "https://***@host-1/a"),
        (f"https://{GITHUB}@host.org/a", "https://***@host-1/a"),
        ("s3://bucket/a?X-Amz-Signature=0123456789abcdef0123&b=1", "s3://bucket/a?X-Amz-Signature=***&b=1"),
        ("pass=hunter22 lr=0.1", "pass=*** lr=0.1"), ("PASS: S3cr3t!x", "PASS: ***"), ("auth=u7TzQ90x", "auth=***"), ('"auth": "u7TzQ90x"', '"auth": "***"'),
        ("otp=493817", "otp=***"), ("mfa_code: 493817", "mfa_code: ***"), ("p\u0430ssword=hunter22", "password=***"), ("\u0430pi_k\u0435y: hunter22", "api_key: ***"),
        ("/home/jdoe/x", "/home/user-1/x"),
        ("/home/jdoe", "/home/user-1"),
        (r"C:\Users\jdoe\x", r"C:\Users\user-1\x"),
        ("/c/Users/jdoe/x", "/c/Users/user-1/x"),
        ("/mnt/home/jdoe/x and /cluster/home/jdoe", "/mnt/home/user-1/x and /cluster/home/user-1"),
        ("jdoe@node1:~/x$ ls", "user-1@host-1:~/x$ ls"),
        ("root@3f2a1b4c5d6e:/workspace# ls", "user-1@host-1:/workspace# ls"),
        ("events.out.tfevents.1700000000.gpu-node17", "events.out.tfevents.1700000000.host-1"),
        ("events.out.tfevents.1700000000.gpu-node17.42.0.v2", "events.out.tfevents.1700000000.host-1.42.0.v2"),
        ("SLURM_NODELIST=node[01-04] x", "SLURM_NODELIST=host-1 x"),
        ("MASTER_ADDR=gpu-node17", "MASTER_ADDR=host-1"),
        ("srun: error: cn0421: task 0: Killed", "srun: error: host-1: task 0: Killed"),
        ("STEP 4711.0 ON cn0421 CANCELLED AT 2026", "STEP 4711.0 ON host-1 CANCELLED AT 2026"),
        ("slurmstepd: error: *** JOB 9 ON cn0421 CANCELLED", "slurmstepd: error: *** JOB 9 ON host-1 CANCELLED"),
        ("at 10.21.33.45:29500", "at address-1:29500"),
        ("[rank0]: fe80::1ff:fe23:4567:890a connect", "[rank0]: address-1 connect"),
        ("2001:db8:85a3:8d3:1319:8a2e:370:7348", "address-1"),
        ("a@b.org", "mail-1"),
    ],
)  # fmt: skip
def test_secrets_and_names_in_a_text(raw: str, expected: str) -> None:
    assert clean(raw, Pseudonyms()) == expected


@pytest.mark.parametrize(
    "text",
    [
        "tokenizer: gpt2", "max_tokens=4096", "num_tokens: 12345678", "token_embedding.weight", "loss: 0.123456", "acc@1 45.3", "recall@10: 0.5", "mAP@0.5: 0.3",
        "version 1.2.3.4", "127.0.0.1:29500", "0.0.0.0", "step 100 tokens 1,000,000", "[12:34:56] epoch 1", "12:34:56.789", "layer.0.attn.q_proj.weight",
        "<s> token", "pad_token: <pad>", "eos_token=</s>", "tokens/s: 123456", "token accuracy: 0.512345", "host memory 12 GB", "sha 1234567",
        "@torch.no_grad()", "result = x @ weight", "user 0.3s sys 0.1s", "torch::jit::Node", "c10::Error", "at::native::add", "ab:cd", "module.passwords.weight",
        "pass=3 of 10", "pass: 0.9312345", "pass=1e-05", "second_pass=forward2", "auth=None", "auth: disabled", "pin_memory=True", "pin=enabled", "pass=backward",
        "потери: 0.35, точность 0.9", "hotpath=abc123", "module.pass=block12",
        "events.out.tfevents", "password_head.bias", "Home: /homeworld/x", "np.float64(0.123456789)", "epoch 3 | secret santa",
    ],
)  # fmt: skip
def test_what_is_no_secret_stays(text: str) -> None:
    assert clean(text, Pseudonyms()) == text


def test_pseudonyms_are_stable_and_apart() -> None:
    names = Pseudonyms()
    assert clean("/home/a/x /home/b/y /home/a/z", names) == "/home/user-1/x /home/user-2/y /home/user-1/z"
    assert clean("b@box:~", names) == "user-2@host-1:~"


def test_a_long_hostile_text_takes_no_time() -> None:
    for piece in ("a@", "/home/", "://a:", "token=", "x.y@", "1.1.", "AKIA", "eyJa.", "C:\\Users\\", "a:", "-" * 5 + "BEGIN "):
        clean(piece * 20_000, Pseudonyms())


_KEPT = "Zq81kd93jfk20sl"
CARRIED = {
    "escaped for JSON": '{\\"api_key\\": \\"%s\\"}', "basic": "Authorization: Basic %s==", "curl": "curl -s -u alice:%s https://x", "blanks": 'password = "one %s two"',
    "blanks and apostrophes": "'passphrase': 'one %s two'", "storage account": "AccountName=x;AccountKey=%s+/==;", "signed address": "https://x.example/c?sv=2020&sig=%s%%3D",
    "cookie": "Cookie: session=%s", "a variable before a command": "PGPASSWORD=%s psql", "a parameter": "https://x.example/?api_key=%s&b=1", "header": "x-api-key: %s",
    "local variable": "    password = '%s'", "a data base": "mongodb+srv://u:%s@h.example/x",
}  # fmt: skip
ISSUED = (
    "npm_" + "a1B2c3D4e5" * 4, "dckr_pat_" + "a1B2c3D4e5" * 3, "pypi-" + "AgEIcHlwaS5vcmc" * 4, "ya29." + "a0AfH6SMB" * 5, "rk_live_" + "a1B2c3D4e5" * 3,
    "SG." + "a1B2c3D4e5" * 2 + "." + "a1B2c3D4e5" * 4, "https://hooks.slack.com/services/T0000/B0000/" + "a1B2c3D4e5", "https://discord.com/api/webhooks/123/" + "a1B2c3D4e5",
    "bot123456789:AA" + "a1B2c3D4e5" * 3,
)  # fmt: skip


@pytest.mark.parametrize("name", CARRIED)
def test_what_a_request_or_a_command_carries(name: str) -> None:
    assert _KEPT not in clean(CARRIED[name] % _KEPT, Pseudonyms())


@pytest.mark.parametrize("secret", ISSUED)
def test_keys_that_services_issue(secret: str) -> None:
    assert "a1B2c3D4e5" not in clean(f"login({secret!r}) failed", Pseudonyms())
    assert secret not in clean(f"token {secret}", Pseudonyms())


@pytest.mark.parametrize(
    "text", ["basic block: 12345678901", "cookie cutter", "loss?key=1", "key=value", "step 12345678:AA", "signal=11", "curl of 3.1 -u"]
)
def test_what_only_looks_like_it(text: str) -> None:
    assert clean(text, Pseudonyms()) == text
