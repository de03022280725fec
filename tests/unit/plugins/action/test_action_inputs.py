# SPDX-License-Identifier: GPL-3.0-or-later
"""The action inputs, with Ansible's own templating."""

from __future__ import annotations

import datetime
import hashlib
import pathlib
import typing as t
from unittest import mock

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible.template import Templar, trust_as_template

from ansible_collections.eden.reference.plugins.action import inputs
from ansible_collections.eden.reference.plugins.module_utils._eden import experiment_config
from ansible_collections.eden.reference.plugins.module_utils._eden.inputs import specification
from ansible_collections.eden.reference.plugins.module_utils._eden.values import TemplatingFailure

DEFAULT = specification()["eden_experiment_config"]["default"]
CONFIG_TEXT = experiment_config.dump(DEFAULT)
WITHOUT_FILES = {"commands": {}, "files": {"experiment": {}, "seed": {}}}


def trusted(value: t.Any) -> t.Any:
    """The value as if it had been read from an inventory."""
    if isinstance(value, dict):
        return {key: trusted(part) for key, part in value.items()}
    if isinstance(value, list):
        return [trusted(part) for part in value]
    return trust_as_template(value) if isinstance(value, str) else value


def action(variables: dict[str, t.Any], arguments: dict[str, t.Any] | None = None) -> inputs.ActionModule:
    task = mock.Mock(args=arguments or {}, async_val=0, check_mode=False, diff=False, no_log=False)
    templar = Templar(loader=DataLoader(), variables=variables)
    return inputs.ActionModule(task, mock.Mock(), mock.Mock(), DataLoader(), templar, mock.Mock())


def run(**variables: t.Any) -> dict[str, t.Any]:
    values = {"inventory_hostname": "lab", "eden_image": trusted("eden:1"), **trusted(variables)}
    return action(values).run(task_vars=values)


def lines(**variables: t.Any) -> list[str]:
    result = run(**variables)
    assert result["failed"]
    return str(result["msg"]).splitlines()[1:]


def test_right_inputs_give_the_config() -> None:
    assert run(eden_name="{{ inventory_hostname }}", eden_experiment_config=DEFAULT) == {
        "changed": False,
        "config": {
            "text": CONFIG_TEXT,
            "checksum": hashlib.sha256(CONFIG_TEXT.encode()).hexdigest(),
            "deadlines": {},
            **WITHOUT_FILES,
        },
    }


FACT_RULE = "is not an input; the roles publish it: rename yours or leave it out"


@pytest.mark.parametrize("name", sorted(inputs.inputs.FACTS))
def test_a_fact_of_the_roles_is_no_input(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "load_extra_vars", lambda _loader: {name: "my.yaml"})
    assert lines(**{name: "my.yaml"}) == [f"{name}: {FACT_RULE}"]


def test_a_fact_of_the_roles_is_no_variable_of_the_inventory() -> None:
    # Of the roles only results of phases are facts of a host, once an earlier play has set them.
    of_host = {"eden_config": "my.yaml", "eden_credentials": {}, "eden_seed_commit": None}
    hostvars = mock.Mock(raw_get={"lab": of_host}.__getitem__)
    assert lines(hostvars=hostvars, **of_host) == [f"eden_config: {FACT_RULE}"]


def test_inputs_are_templated() -> None:
    result = run(
        eden_timeout="{{ 5 * 60 }}",
        eden_replicas={"executor_host": "{{ 1 + 1 }}"},
        eden_experiment_config={**DEFAULT, "parallel_variants": "{{ 2 + 1 }}"},
    )
    assert "parallel_variants: 3\n" in result["config"]["text"]


def test_the_config_holds_plain_values() -> None:
    extra = {
        "text": "{{ inventory_hostname }}",
        "date": datetime.date(2020, 1, 2),
        "time": datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=datetime.UTC),
        "list": [1, 2.5, True, None],
    }
    written = run(eden_experiment_config={**DEFAULT, "extra": extra})["config"]["text"]
    assert experiment_config.parse(written.encode(), "x")[0]["extra"] == {**extra, "text": "lab"}


def test_a_file_is_kept_as_it_is(tmp_path: pathlib.Path) -> None:
    text = f"# {{{{ not a template }}}}\r\n{CONFIG_TEXT}execution_task_deadline: 90\n"
    (tmp_path / "config.yaml").write_bytes(text.encode())
    result = run(folder=str(tmp_path), eden_experiment_config_file="{{ folder }}/config.yaml")
    assert result["config"] == {
        "text": text,
        "checksum": hashlib.sha256(text.encode()).hexdigest(),
        "deadlines": {"execution_task_deadline": 90},
        **WITHOUT_FILES,
    }


def test_undefined_variables_are_named_where_they_are_used() -> None:
    assert lines(
        eden_context="{{ nowhere }}",
        eden_resources={"limits": {"memory": "1Gi", "cpu": "{{ nope }}"}},
        eden_image_pull_secrets=["a", "{{ hidden.deep }}"],
    ) == [
        "eden_context: must be a context of the kubeconfig of at most 1024 characters, or empty, "
        "got a template that failed: 'nowhere' is undefined; for example kind-eden",
        "eden_image_pull_secrets[1]: must be the name of a Secret, "
        "got a template that failed: 'hidden' is undefined; "
        "for example registry-credentials",
        "eden_resources.limits.cpu: must be a Kubernetes quantity such as 500m, not negative, "
        "got a template that failed: 'nope' is undefined",
    ]


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ broken", "Syntax error in template"),
        ("{{ eden_context }}", "Recursive loop detected"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ omit }}", "Omit"),
        ("{{ lookup('file', '/nowhere') }}", "/nowhere"),
    ],
)
def test_a_template_that_fails_is_a_problem(template: str, words: str) -> None:
    [line] = lines(eden_context=template)
    assert line.startswith("eden_context: must be a context of the kubeconfig ")
    got = line.partition(", got a template that failed: ")[2]
    assert words in got
    assert got.endswith("; for example kind-eden")


def test_a_template_that_fails_is_shown_in_ascii() -> None:
    [line] = lines(eden_context="{{ undefined_\u202e }}")
    assert line.isascii()
    assert line.isprintable()


def test_text_that_is_not_trusted_stays_and_is_refused() -> None:
    values = {"inventory_hostname": "lab", "eden_image": "eden:1", "eden_context": "{{ inventory_hostname }}"}
    result = action(values).run(task_vars=values)
    assert [problem["variable"] for problem in result["problems"]] == ["eden_context"]
    assert "which contains a template that was not evaluated" in result["msg"]


def test_variables_that_are_no_inputs_are_not_templated() -> None:
    assert lines(eden_admin_token="{{ lookup('ansible.builtin.pipe', 'false') }}") == [
        "eden_admin_token: is not an input; names that begin with eden_ are reserved for the inputs of "
        "eden.reference; for example eden_name"
    ]


def test_facts_of_the_phases_are_not_templated() -> None:
    assert "failed" not in run(eden_seed_commit="{{ nope }}", eden_identities="{{ nope }}")


def test_a_value_without_an_end_is_a_problem() -> None:
    endless: list[t.Any] = []
    endless.append(endless)
    values = {"inventory_hostname": "lab", "eden_image": "eden:1", "eden_tolerations": endless}
    assert inputs.plain([1]) == [1]
    with pytest.raises(RecursionError):
        inputs.plain(endless)
    module = action(values)
    with mock.patch.object(module._templar, "template", side_effect=lambda value: value):
        assert isinstance(module.templated(endless), TemplatingFailure)


def test_a_number_that_cannot_be_written_out_is_a_problem() -> None:
    assert "a number that is too large" in lines(eden_timeout="{{ 10 ** 5000 }}")[0]


def test_more_requests_than_the_task_store_answers_give_a_warning() -> None:
    [warning] = run(eden_poll_interval="0.05")["warnings"]
    assert warning.startswith("4 workers that poll every 0.05 s")


def encrypted(path: pathlib.Path, text: str) -> VaultLib:
    """Writes a file that ansible-vault encrypted; returns what decrypts it."""
    vault = VaultLib([("default", VaultSecret(b"hunter2"))])
    path.write_bytes(vault.encrypt(text))
    return vault


def test_an_encrypted_file_is_decrypted(tmp_path: pathlib.Path) -> None:
    text = f"# \U0001f680\r\n{CONFIG_TEXT}"
    vault = encrypted(tmp_path / "config.yaml", text)
    values = {"eden_image": "eden:1", "eden_experiment_config_file": str(tmp_path / "config.yaml")}
    module = action(values)
    module._loader.set_vault_secrets(vault.secrets)
    assert module.run(task_vars=values)["config"]["text"] == text


def test_an_encrypted_file_without_its_password_is_a_problem(tmp_path: pathlib.Path) -> None:
    encrypted(tmp_path / "config.yaml", CONFIG_TEXT)
    [line] = lines(eden_experiment_config_file=str(tmp_path / "config.yaml"))
    assert "it is encrypted with ansible-vault and cannot be decrypted: " in line
    assert "--ask-vault-pass or --vault-password-file" in line


def test_arguments_are_refused() -> None:
    with pytest.raises(AnsibleError, match="Unsupported parameters"):
        action({}, {"eden_image": "x"}).run(task_vars={})
