"""Secrets as people leave them in commands, headers, configurations and tracebacks: not in any output."""

import io
import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from rich.console import Console

import postmortem
from postmortem.redact import Pseudonyms, clean
from postmortem.render.terminal import render_terminal
from tests.hostile.harness import good_log
from tests.warm import Warm

S = "Tr0ub4dorXyz99"
CARRIERS = {
    "mysql": f"mysql -u root -p{S} -h db", "mysqldump": f"mysqldump -uroot -p{S} db > x", "psql": f"psql postgresql://bob:{S}@db/x",
    "ODBC": f"Server=db;Uid=bob;Pwd={S};", "pwd": f"db pwd: {S}", "zero width": f"pass\u200bword={S}", "soft hyphen": f"api_\u00adkey: {S}",
    "full width": f"password＝{S}", "Chinese colon": f"password：{S}", "colours within": f"\x1b[1mpass\x1b[0mword={S}", "colours around": f"password=\x1b[31m{S}\x1b[0m",
    "JSON in JSON": '{"a": "{\\"password\\": \\"' + S + '\\"}"}', "JSON in JSON in JSON": '{"a": "{\\\\\\"password\\\\\\": \\\\\\"' + S + '\\\\\\"}"}',
    "basic": f"Authorization: Basic {S}==", "bearer": '{"Authorization": "Bearer ' + S + '"}', "token": f"Authorization: token {S}",
    "digest": f'Authorization: Digest username="bob", response="{S}"', "x-api-key": f"x-api-key: {S}", "proxy": f"http_proxy=http://bob:{S}@proxy:3128",
    "cookie": f"Cookie: session={S}; b=2", "cookies": "cookies={'session': '" + S + "'}", "curl -u": f"curl -u bob:{S} https://x", "curl -ubob": f"curl -ubob:{S} https://x",
    "curl -b": f"curl -b 'sid={S}' https://x", "wget": f"wget --http-password={S} https://x", "netrc": f"machine api.wandb.ai login user password {S}",
    "netrc in lines": f"machine api.wandb.ai\n  login user\n  password {S}\n", "sshpass": f"sshpass -p '{S}' ssh x", "docker": f"docker login -u bob -p {S}",
    "openssl": f"openssl enc -pass pass:{S}", "AWS": f"aws_secret_access_key = {S}/{S}", "AWS session": f"AWS_SESSION_TOKEN={S}",
    "Azure storage": f"DefaultEndpointsProtocol=https;AccountName=x;AccountKey={S}==;EndpointSuffix=core", "Azure bus": f"Endpoint=sb://x/;SharedAccessKeyName=R;SharedAccessKey={S}",
    "SAS": f"https://x.blob.core.windows.net/c?sv=1&sig={S}%3D", "redis": f"redis://:{S}@host:6379/0", "mongo": f"mongodb+srv://bob:{S}@c.mongodb.net",
    "S3": f"https://b.s3.amazonaws.com/x?X-Amz-Signature={S}&X-Amz-Security-Token={S}", "JDBC": f"jdbc:postgresql://h/db?user=bob&password={S}",
    "git": f"https://{S}@github.com/x/y.git", "git header": f"git -c http.extraheader='AUTHORIZATION: basic {S}' fetch", "pip": f"pip install --index-url https://bob:{S}@pypi.x/simple",
    "private key": f"-----BEGIN RSA PRIVATE KEY-----\n{S}\n{S}\n-----END RSA PRIVATE KEY-----",
    "encrypted key": f"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,AA\n\n{S}\n-----END RSA PRIVATE KEY-----",
    "SSH key": f"-----BEGIN OPENSSH PRIVATE KEY-----\\n{S}\\n-----END OPENSSH PRIVATE KEY-----", "key cut off": f"-----BEGIN PRIVATE KEY-----\n{S}",
    "PGP key": f"-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: 1\n\n{S}\n-----END PGP PRIVATE KEY BLOCK-----", "line of a key": f"cannot parse\n{(S * 5)[:64]}\n",
    "client secret": f'"clientSecret": "{S}"', "kubernetes": f"client-key-data: {S}", "YAML block": f"password: |\n  {S}\n", "with a comma": f"password=ab,{S}",
    "with a quote": f'password="a\\"{S}"', "tuple": f"requests.get(url, auth=('bob', '{S}'))", "HTTPBasicAuth": f"HTTPBasicAuth('bob', '{S}')", "login": f"login('{S}')",
    "arrow": f"password => {S}", "walrus": f"password:={S}", "far": f"password     =     {S}", "said": f"cannot log in with password {S}", "environment": f"DB_PASS={S}",
    "Slack": f"https://hooks.slack.com/services/T00/B00/{S}", "Teams": f"https://x.webhook.office.com/webhookb2/{S}", "Vault": f"VAULT_TOKEN=hvs.{S}",
}  # fmt: skip
# What only looks like one.
HARMLESS = (
    "PWD=/data/x", "pwd: ~/runs", "pad_token: <pad>", "first_pass=0.53", "num_tokens=1024", "loss pass 3/10", "curl: (28) timed out", "login node is ready",
    "password is required", "key=value", "token_accuracy=0.93", "max_pass: 12", "cookie cutter", "训练损失：0.35", "epoch 3 \x1b[32mloss\x1b[0m 0.5", "auth=None",
)  # fmt: skip


@pytest.mark.parametrize("name", CARRIERS)
def test_a_carrier(name: str) -> None:
    out = clean(CARRIERS[name], Pseudonyms())
    assert S not in out
    assert "***" in out


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_like_one_stays(text: str) -> None:
    assert clean(text, Pseudonyms()) == text


def outputs(run: Path, out: Path, warm: Warm, *, redact: bool) -> Iterable[tuple[str, str]]:
    """All that the program says of a run, by where it says it."""
    diagnosis = postmortem.analyze(run, redact=redact)
    console = Console(width=200, record=True, file=io.StringIO())
    render_terminal(diagnosis, console)
    yield from {
        "html": diagnosis.to_html(),
        "json": diagnosis.to_json(),
        "markdown": diagnosis.to_markdown(),
        "terminal": console.export_text(),
    }.items()
    flag = [] if redact else ["--no-redact"]
    for name, arguments in {
        "batch": ["batch", run, run.parent / "other", "-o", out, "--workers", "1", *flag],
        "compare": ["compare", run.parent / "other", run, "-o", out / "c.html", "--json", out / "c.json", *flag],
        "sources": ["sources", run, "--json", *flag],
        "inspect": ["inspect", run, "--json", *flag],
    }.items():
        done = warm([*map(str, arguments)], run.parent)
        assert done.returncode in (0, 3), done.stderr
        yield name, done.stdout + done.stderr
    for file in out.rglob("*"):
        if file.is_file():
            yield file.relative_to(out).as_posix(), file.read_text(encoding="utf-8", errors="replace")


def hold(run: Path) -> None:
    """A run whose configuration, log, exception and curves carry all of them."""
    good_log(run)
    (run / "config.json").write_text(json.dumps({"lr": 0.5, "notes": {name: text for name, text in CARRIERS.items() if "\n" not in text}}))
    (run / "hparams.yaml").write_text("".join(f"{json.dumps(text)}: 1\n" for text in CARRIERS.values() if "\n" not in text and len(text) < 120))
    for n, text in enumerate(CARRIERS.values()):
        lines = f'Traceback (most recent call last):\n  File "train.py", line {n}, in main\n    run()\nRuntimeError: {text}\n'
        (run / f"rank{n}.err").write_text(lines)
    rows = ({"step": n, f"https://bob:{S}@h.example/loss": n} for n in range(20))
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_no_output_holds_one(tmp_path: Path, a_warm_process: Warm) -> None:
    hold(tmp_path / "run")
    good_log(tmp_path / "other")
    (tmp_path / "out").mkdir()
    said = outputs(tmp_path / "run", tmp_path / "out", a_warm_process, redact=True)
    leaks = {name: text[max(0, text.find(S) - 80) :][:200] for name, text in said if S in text}
    assert leaks == {}


def test_the_same_outputs_hold_them_where_nothing_is_to_be_replaced(tmp_path: Path) -> None:
    """So that the test above looks at outputs in which they would be."""
    hold(tmp_path / "run")
    diagnosis = postmortem.analyze(tmp_path / "run", redact=False)
    for text in (diagnosis.to_html(), diagnosis.to_json(), diagnosis.to_markdown()):
        assert text.count(S) > 5
