# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import os
import pathlib
import typing as t

import pytest
from ansible.plugins.filter.core import to_bool
from hypothesis import given, settings
from hypothesis import strategies as st
from input_strategies import CONFIG, DEFAULTS, RIGHT, SPEC

from ansible_collections.eden.reference.plugins.module_utils._eden import experiment_config, inputs
from ansible_collections.eden.reference.plugins.module_utils._eden.values import Problem, TemplatingFailure

ID = "exp_01jabcdefghjkmnpqrstvwxyz0"
DIGEST = "sha256:" + "0123456789abcdef" * 4
NOW = "requiredDuringSchedulingIgnoredDuringExecution"
DEFAULT = SPEC["eden_experiment_config"]["default"]
NOPE = TemplatingFailure("'x' is undefined")
LARGE = "x" * 1024 * 1024


def check(**changes: t.Any) -> list[Problem]:
    return inputs.check({**RIGHT, **changes})


def config(**changes: t.Any) -> dict[str, t.Any]:
    return {**DEFAULT, **changes}


def each(text: str) -> list[str]:
    """The words of a text."""
    return text.split()


VALID: dict[str, list[t.Any]] = {
    "eden_name": ["e", "e" * 32, "a-1--b", "no", "null", "e1"],
    "eden_namespace": ["1", "n" * 63, "no", "1e3", "0o17", "0x1f", "2026-11-28"],
    "eden_kubeconfig": ["", "~/a file.yaml", "no", "12:30"],
    "eden_context": ["admin@cluster/eu:west", "~", "017"],
    "eden_image": [
        *(f"eden@{DIGEST}", f"eden:latest@{DIGEST}", "localhost:5000/eden:1", "eden:" + "1" * 128),
        *("registry.example.org:5000/a/b__c-d.e/eden:V1.0_rc-1", "[2001:db8::1]:5000/eden:1"),
    ],
    "eden_image_pull_secrets": [[], ["a", "b.c"]],
    "eden_experiment_id": ["", ID],
    "eden_replicas": [{"executor_host": 99}, {"web_ui": 0, "ideator_host": "2"}],
    "eden_storage_class": ["fast.example.org", "1e3", "null"],
    "eden_storage_sizes": [{"postgres": "1Mi", "blob": "10Ti"}, {"blob": "8388607Ti"}],
    "eden_node_selector": [{"kubernetes.io/os": "linux", "gpu": ""}],
    "eden_tolerations": [
        [{"operator": "Exists"}, {"key": "a", "effect": "NoExecute", "tolerationSeconds": 0}]
    ],
    "eden_affinity": [
        {"nodeAffinity": {}, "podAffinity": {}},
        {"podAffinity": {NOW: [{"topologyKey": "a", "labelSelector": {}, "matchLabelKeys": ["a"]}]}},
    ],
    "eden_resources": [
        {"requests": {"cpu": 1, "memory": "1e3"}, "limits": {"cpu": 1.5, "memory": "1Ki"}},
        {"limits": {"nvidia.com/gpu": 1, "hugepages-2Mi": "4Mi", "ephemeral-storage": "1.5Gi"}},
    ],
    "eden_web_ui_peers": [[{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "proxy"}}}]],
    "eden_worker_egress": [
        [{}, {"to": [{"ipBlock": {"cidr": "2001:db8::/32"}}], "ports": [{"port": "https"}]}]
    ],
    "eden_ingress": [
        {"host": "eden", "class_name": "", "annotations": {"a/b": "\U0001f680\n"}, "tls_secret": "x"}
    ],
    "eden_network_policies": [True, False, "yes", "No", "TRUE", "off", "1", "0", 1, 0],
    "eden_max_unavailable": [0, "0", 99],
    "eden_timeout": [1, 86400, "600"],
    "eden_lock_timeout": [0, "0", 86400],
    "eden_poll_interval": [86400, 0.001, 3, "3", "0.5", "10.0"],
    "eden_log_level": ["debug"],
    "eden_task_store_url": ["http://10.0.0.1", "https://eden.example.org:8443/store/", "http://[::1]:8080"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in VALID for value in VALID[name]])
def test_valid_values(name: str, value: t.Any) -> None:
    assert check(**{name: value}) == []


# By input: values, and the path in them of the one problem.
INVALID: dict[str, list[tuple[str, list[t.Any]]]] = {
    "eden_name": [
        ("", ["", "e" * 33, *each("1a -a a- a_b a.b A ed\u0435n"), "a b", "a\n", "a{{ b }}", 7, None])
    ],
    "eden_namespace": [("", ["", "n" * 64, "a_b", "a-", "a.b", "N", "kube-system", 1000.0])],
    "eden_kubeconfig": [("", ["x" * 4097, "/tmp/\u202ea", "a\x1b[31mb", " a", {"clusters": []}])],
    "eden_context": [("", ["x" * 1025, False, LARGE])],
    "eden_image": [
        ("", ["", " eden:1", "eden :1", "e" * 256 + ":1", "eden:" + "1" * 129, "{{ image }}:1", None]),
        ("", each("eden: eden:1@ EDEN:1 eden:1:2 eden:-1 eden:latest ed\u0435n:1 eden:1\u200b")),
        ("", each(f"eden@sha256:abc eden@{DIGEST.upper()} https://registry/eden:1 localhost:5000/eden")),
        ("", each("localhost:0/eden:1 localhost:99999/eden:1 a//eden:1 /eden:1 registry/:1")),
    ],
    "eden_image_pull_policy": [("", ["always", "", True])],
    "eden_image_pull_secrets": [("[0]", [[""]]), ("[1]", [["a", 1], ["a", "a"]]), ("", ["a", None, {}])],
    "eden_experiment_id": [
        ("", ["exp-1", ID.upper(), ID[:-1], ID + "0", "exp_" + "i" * 26, "wkr_" + ID[4:], ID + "\n"])
    ],
    "eden_replicas": [
        (".task_store", [{"task_store": value} for value in (0, 2, 1.0, True, "0", "1.0", None, [1])]),
        (".executor_host", [{"executor_host": value} for value in (-1, 100, 10**30, "100", "-1", "1e1")]),
        (".executor", [{"executor": 2}]),
        ("", [[2], None, "executor_host=2"]),
    ],
    "eden_storage_class": [("", ["A", "a_b", "a..b", "-", "x" * 254])],
    "eden_storage_sizes": [
        (
            ".blob",
            [
                {"blob": value}
                for value in (
                    *("10G", "10", "0Gi", "00Gi", "-1Gi", "1.5Gi", "1gi", " 1Gi", "1 Gi", "\u0661Gi", "", 10),
                    *(None, "9" * 10 + "Gi", "8388608Ti"),
                )
            ],
        ),
        (".postgress", [{"postgress": "1Gi"}]),
    ],
    "eden_node_selector": [(".a", [{"a": True}, {"a": 1}]), ("[1]", [{1: "b"}]), ("", [["a"]])],
    "eden_tolerations": [
        ("[0]", [["a"]]),
        ("[0].operator", [[{"operator": "exists"}]]),
        ("[0].effect", [[{"effect": "None"}]]),
        ("[0].tolerationSecs", [[{"tolerationSecs": 3}]]),
        ("[0].tolerationSeconds", [[{"tolerationSeconds": "3"}]]),
    ],
    "eden_affinity": [
        (".podAntiAfinity", [{"podAntiAfinity": {}}]),
        (".nodeAffinity", [{"nodeAffinity": []}]),
        (f".podAffinity.{NOW}[0].topologyKey", [{"podAffinity": {NOW: [{"labelSelector": {}}]}}]),
    ],
    "eden_resources": [
        (".request", [{"request": {}}]),
        (".limits.mem", [{"limits": {"mem": "1Gi"}}]),
        (
            ".limits.memory",
            [
                {"limits": {"memory": m}}
                for m in ("1GB", "-1Gi", True, None, 1.5, "512m", "1 Gi", "1_0", "Infinity")
            ],
        ),
        (".limits.cpu", [{"limits": {"cpu": cpu}} for cpu in (float("nan"), "1e999", "\u0661", "nan", "")]),
        (".limits", [{"limits": ["cpu"]}]),
    ],
    "eden_web_ui_peers": [
        ("", [{"podSelector": {}}]),
        ("[0].podSelectors", [[{"podSelectors": {}}]]),
        ("[0].ipBlock.cidr", [[{"ipBlock": {}}]]),
    ],
    "eden_worker_egress": [
        ("[0].from", [[{"from": []}]]),
        ("[0].ports[0].protocol", [[{"ports": [{"protocol": "tcp"}]}]]),
        ("[0].ports[0].port", [[{"ports": [{"port": 1.5}]}]]),
    ],
    "eden_ingress": [
        ("", ["eden.example.org"]),
        (".host", [{"class_name": "a"}, *({"host": h} for h in ("Eden.org", "https://eden.org", "", 1))]),
        (".tls", [{"host": "a", "tls": []}]),
        (
            ".annotations.a",
            [{"host": "a", "annotations": {"a": 1}}, {"host": "a", "annotations": {"a": "\ud800"}}],
        ),
        (".tls_secret", [{"host": "a", "tls_secret": "Not a name"}]),
    ],
    "eden_network_policies": [("", ["maybe", "", " yes", "y", "yes\n", 2, 1.0, None, [True]])],
    "eden_max_unavailable": [("", [-1, "-1", 100])],
    "eden_lock_timeout": [("", [-1, 86401, "soon"])],
    "eden_timeout": [
        ("", [0, -1, 86401, 1.5, True, float("nan"), None, [600], "", " 600 ", "9" * 5000]),
        ("", each("0 12abc 6e2 0x10 1_000 007 +1 600.0 \uff16 six")),
    ],
    "eden_poll_interval": [
        ("", [0, -1, 0.0, False, float("inf"), float("nan"), 86401, 10**400]),
        ("", each("0 1e-1 .5 5. nan 1_0")),
    ],
    "eden_log_level": [("", ["loud", True])],
    "eden_task_store_url": [
        ("", ["https://e den", "http://eden/" + "x" * 2048, "http://me:hunter2@eden"]),
        ("", each("eden ftp://eden http:// http:///x http://eden:0 http://eden:99999 http://eden:x")),
        ("", each("http://[::1 http://eden?x http://eden#x http://\u0435den http://-eden")),
    ],
    "eden_experiment_config": [
        (".notes", [config(notes="\ud800")]),
        (".extra[0]", [config(extra=[NOPE])]),
        (".parallel_variants", [config(parallel_variants="{{ 1 }}")]),
        ("", [None, "x", config(notes=LARGE), config(notes=object())]),
    ],
}


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [(name, path, value) for name, rows in INVALID.items() for path, values in rows for value in values],
)
def test_invalid_values(name: str, path: str, value: t.Any) -> None:
    [problem] = check(**{name: value})
    assert problem.variable == name + path
    assert problem.rule
    assert problem.example
    assert problem.line.isascii()
    assert problem.line.isprintable()
    assert len(problem.line) < 1000
    assert "hunter2" not in problem.line


IMAGE_RULE = "must be an image with a tag or a digest, such as registry.example.org/eden:1.0.0, got"


# fmt: off
@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"eden_name": "Eden"},
         "eden_name: must be a name of 1 to 32 lower-case letters, digits and -, with a letter first "
         "and a letter or digit last, got 'Eden'; for example eden"),
        ({"eden_image": "eden"}, f"eden_image: {IMAGE_RULE} 'eden', which has neither"),
        ({"eden_image": "eden:latest"},
         f"eden_image: {IMAGE_RULE} 'eden:latest', which has the tag latest, whose content changes"),
        ({"eden_image": "eden @1"}, f"eden_image: {IMAGE_RULE} 'eden @1', which contains whitespace"),
        ({"eden_image": "https://a/b:1"}, f"eden_image: {IMAGE_RULE} 'https://a/b:1', which is a URL"),
        ({"eden_storage_sizes": {"postgres": "10G"}},
         "eden_storage_sizes.postgres: must be a size such as 10Gi (an integer and Mi, Gi or Ti), "
         "got '10G'"),
        ({"eden_storage_sizes": {"postgress": "10Gi"}},
         "eden_storage_sizes.postgress: is not a key of eden_storage_sizes; did you mean postgres?"),
        ({"eden_replicas": {"web_ui": 2}}, "eden_replicas.web_ui: must be an integer from 0 to 1, got 2"),
        ({"eden_timeout": "6e2"},
         "eden_timeout: must be an integer from 1 to 86400, got the string '6e2'; for example 300"),
        ({"eden_poll_interval": 0},
         "eden_poll_interval: must be a number greater than 0 and at most 86400, got 0; for example 1.0"),
        ({"eden_manage_namespace": "maybe"},
         "eden_manage_namespace: must be true or false, got the string 'maybe'"),
        ({"eden_log_level": "debugg"},
         "eden_log_level: must be one of debug, info, warning, error, got 'debugg'"),
        ({"eden_context": "{{ nope }}"},
         "eden_context: must be a context of the kubeconfig of at most 1024 characters, or empty, "
         "got '{{ nope }}', which contains a template that was not evaluated; for example kind-eden"),
        ({"eden_resources": {"limits": {"cpu": NOPE}}},
         "eden_resources.limits.cpu: must be a Kubernetes quantity such as 500m, not negative, "
         "got a template that failed: 'x' is undefined"),
        ({"eden_experiment_config": config(extra=[NOPE])},
         "eden_experiment_config.extra[0]: must be a value or a valid template, "
         "got a template that failed: 'x' is undefined; for example '{{ inventory_hostname }}'"),
        ({"eden_existing_secret": "hunter 2"},
         "eden_existing_secret: must be the name of a Secret, or empty, got a value that is not shown; "
         "for example eden-credentials"),
        ({"eden_task_store_url": "http://user:hunter2@eden"},
         "eden_task_store_url: must be an http or https URL, or empty, got 'http://***@eden', "
         "which contains a user name; for example https://eden.example.org:8080"),
        ({"eden_image": ...}, "eden_image: is required; for example registry.example.org/eden:1.0.0"),
        # Names that are not inputs
        ({"eden_storage_size": "1Gi"},
         "eden_storage_size: is not an input; did you mean eden_storage_sizes?"),
        ({"eden_imgae": "a:1"}, "eden_imgae: is not an input; did you mean eden_image?"),
        ({"eden_admin_token": "hunter2"},
         "eden_admin_token: is not an input; names that begin with eden_ are reserved for the inputs of "
         "eden.reference; for example eden_name"),
        *(
            (
                {name: "x"},
                f"{name}: is no longer an input; set {new}, "
                "or rename the variable if it is not meant for EDEN",
            )
            for name, new in {
                "infra_postgres_storage_size": "eden_storage_sizes.postgres",
                "app_tier_timout": "eden_timeout",
                "task_store_replicas": "eden_replicas.task_store",
                "app_tier_executor_repo_storage_size": "eden_storage_sizes.executor_repo",
                "verify_context": "eden_context",
            }.items()
        ),
        # The config file
        ({"eden_experiment_config_file": "/nowhere"},
         "eden_experiment_config_file: must name a YAML file on this machine with the experiment config, "
         "got '/nowhere' (No such file or directory); "
         "for example '{{ inventory_dir }}/experiment-config.yaml'"),
        ({"eden_experiment_config_file": "/nowhere", "eden_experiment_config": config(parallel_variants=2)},
         "eden_experiment_config_file: excludes eden_experiment_config: remove one of the two; "
         "for example ''"),
    ],
)
def test_a_problem_says_variable_rule_value_and_example(changes: dict[str, t.Any], line: str) -> None:
    given = {name: value for name, value in {**RIGHT, **changes}.items() if value is not ...}
    assert [problem.line for problem in inputs.check(given)] == [line]
# fmt: on


@pytest.mark.parametrize(
    "name",
    [
        *(
            "seed_money",
            "seed_value",
            "infra_name",
            "infra_team",
            "verify_ssl",
            "task_store",
            "task_store_url",
        ),
        *("app_tier", "identities_file", "timeout", "ansible_host", "edenx", "__eden_names", *inputs.FACTS),
    ],
)
def test_variables_of_others_are_ignored(name: str) -> None:
    assert not inputs.concerns(name)
    assert check(**{name: object()}) == []


def test_a_former_input_is_replaced_by_one_that_exists() -> None:
    former = [prefix + name for prefix, names in inputs.FORMER_INPUTS.items() for name in names.split()]
    assert len(former) == len(set(former))
    for name in former:
        [problem] = check(**{name: object()})
        variable, _dot, key = problem.example.partition(".")
        assert variable in SPEC
        assert not key or key in inputs.specification()[variable]["options"]


def test_all_problems_are_found_at_once() -> None:
    found = check(
        eden_name="X",
        eden_timeout="x",
        eden_storage_sizes={"blob": "1", "x": 1},
        eden_imge="eden:1",
        eden_tolerations=[{"effect": 1}],
        eden_experiment_config=config(parallel_variants=0, objective=None),
        seed_image="x",
    )
    assert {problem.variable for problem in found} == {
        *("eden_imge", "seed_image", "eden_name", "eden_storage_sizes.x", "eden_storage_sizes.blob"),
        *("eden_timeout", "eden_tolerations[0].effect", "eden_experiment_config.parallel_variants"),
        "eden_experiment_config.objective",
    }
    assert len(found) == 9


def test_the_keys_of_the_catalogue_are_documented() -> None:
    for name in ("eden_replicas", "eden_storage_sizes"):
        assert set(inputs.specification()[name]["options"]) == set(SPEC[name]["options"])


def test_the_defaults_are_valid() -> None:
    assert check() == []
    # A list or mapping that is the default is not checked in a run.
    unlike = {name: {**option, "default": None} for name, option in inputs.specification().items()}
    for name, value in RIGHT.items():
        if isinstance(value, (dict, list)):
            assert inputs._value_problems(name, unlike[name], value) == []


@pytest.mark.parametrize("name", sorted(DEFAULTS))
@pytest.mark.parametrize(
    "value", [None, True, 3, 2.5, "", " ", "\x00", [], {}, ["x"], {"x": 1}, b"x", "{{ x }}"]
)
def test_a_problem_has_the_name_of_its_input(name: str, value: object) -> None:
    found = check(**{name: value})
    assert {problem.variable.partition("[")[0].partition(".")[0] for problem in found} <= {name}
    if value in (None, " ", "\x00", b"x", "{{ x }}"):
        assert len(found) == 1


def test_a_namespace_by_default_does_not_repeat_the_problem_of_the_name() -> None:
    assert [problem.variable for problem in check(eden_name="A_b", eden_namespace="A_b")] == ["eden_name"]
    assert [problem.variable for problem in check(eden_namespace="A_b")] == ["eden_namespace"]


@settings(deadline=None, derandomize=True, database=None, max_examples=500)
@given(st.text(st.sampled_from("0123456789.eE+-_ xinfa\u0661\n"), max_size=6))
def test_strings_are_the_numbers_that_the_filters_read(value: str) -> None:
    for kind, convert in (("int", int), ("float", float)):
        read = inputs.number(kind, value)
        if read is not None:
            assert isinstance(read, convert)
            assert read == convert(value)
            assert set(value) <= set("0123456789.")


@pytest.mark.parametrize("word", sorted(inputs.BOOLEANS))
def test_strings_are_the_booleans_that_the_filter_reads(word: str) -> None:
    assert to_bool(word) == to_bool(word.upper()) == (word in ("yes", "true", "on", "1"))


MANY = {"executor_host": 99, "evaluator_host": 99, "ideator_host": 99}


@pytest.mark.parametrize(
    ("replicas", "interval", "remembers", "words"),
    [
        ({}, 5.0, False, ""),
        ({}, 1.0, False, "4 workers that poll every 1 s send 17 requests a second"),
        ({}, "1", "no", "Raise eden_poll_interval to 2.4 or lower eden_replicas, or set eden_remember"),
        ({}, 1.0, True, ""),
        ({"executor_host": "4", "evaluator_host": 2}, "3", "false", ""),
        (MANY, 1.0, True, "Raise eden_poll_interval to 1.6 or lower eden_replicas."),
        (MANY, 5.0, True, ""),
        (MANY, 5.0, False, "Raise eden_poll_interval to 44.4 or"),
        ({"executor_host": "0", "evaluator_host": 0, "ideator_host": 0, "orchestrator": 0}, 0.001, False, ""),
        ({}, 0.05, "yes", "send 340 requests a second"),
    ],
)
def test_more_requests_than_the_task_store_answers_give_a_warning(
    replicas: t.Any, interval: t.Any, remembers: t.Any, words: str
) -> None:
    given = {
        **RIGHT,
        "eden_replicas": replicas,
        "eden_poll_interval": interval,
        "eden_remember_credentials": remembers,
    }
    assert inputs.check(given) == []
    found = inputs.warnings(given)
    assert len(found) == bool(words)
    assert words in "".join(found)


def test_replicas_of_workers_count() -> None:
    workers = {"executor_host": {"replicas": "99"}, "ideator_host": {"mode": "scripted"}}
    [words] = inputs.warnings({**RIGHT, "eden_workers": workers})
    assert "102 workers that poll" in words


INGRESS = {"host": "eden.example.org"}
PEERS = [{"podSelector": {}}]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, ""),
        ({"eden_ingress": INGRESS}, "no ingress controller reaches the web UI"),
        ({"eden_ingress": INGRESS, "eden_web_ui_peers": PEERS}, ""),
        ({"eden_ingress": INGRESS, "eden_network_policies": "no"}, ""),
        ({"eden_dns_peers": []}, "no pod finds another by its name"),
        ({"eden_dns_peers": PEERS}, ""),
        ({"eden_dns_peers": [], "eden_network_policies": False}, ""),
    ],
)
def test_policies_that_forbid_what_is_needed_give_a_warning(given: dict[str, t.Any], words: str) -> None:
    wanted = {**RIGHT, "eden_ingress": {}, "eden_network_policies": True, **given}
    assert inputs.check(wanted) == []
    found = inputs.warnings(wanted)
    assert len(found) == bool(words)
    assert words in "".join(found)


# The config file


def test_a_file_is_read_and_checked(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "config.yaml"
    path.write_bytes(CONFIG)
    assert check(eden_experiment_config_file="~/config.yaml") == []
    path.write_text(
        "parallel_variants: 1\nevaluation_schema: {status: real}\nobjective: {expr: x, direction: up}\n"
    )
    assert [problem.variable for problem in check(eden_experiment_config_file=str(path))] == [
        "eden_experiment_config_file.evaluation_schema.status",
        "eden_experiment_config_file.objective.direction",
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        *(
            (content, "which does not contain a mapping")
            for content in ("hunter2", "- hunter2", "12345", "", "hunter2:hunter3")
        ),
        ("password: 'hunter2\n", "got one that cannot be read"),
        ("#" * experiment_config.MAX_SIZE + "#", "must be smaller than 1020 KiB, the room of a ConfigMap"),
    ],
)
def test_what_a_file_of_something_else_holds_is_not_shown(
    content: str, words: str, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "token"
    path.write_text(content)
    [problem] = check(eden_experiment_config_file=str(path))
    assert words in problem.line
    assert "hunter" not in problem.line.replace(str(tmp_path), "")


@pytest.mark.parametrize(
    ("kind", "reason"), [("pipe", "it is not a regular file"), ("folder", "Is a directory")]
)
def test_what_is_no_file_is_refused(kind: str, reason: str, tmp_path: pathlib.Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    [problem] = check(eden_experiment_config_file=str(tmp_path / kind))
    assert f"({reason})" in problem.got


def test_the_text_of_a_file_is_kept() -> None:
    content = "\ufeff# kept \U0001f680\u2028\r\nparallel_variants:  1\n".encode()
    variables = {**RIGHT, "eden_experiment_config_file": "x"}
    assert inputs.config_text(variables, lambda _path: content).encode() == content


def test_the_text_of_a_mapping_is_sorted() -> None:
    written = inputs.config_text({"eden_experiment_config": {"b": 1, "a": {"d": 1, "c": 2}}})
    assert written == "a:\n  c: 2\n  d: 1\nb: 1\n"
    assert inputs.checksum(written) == hashlib.sha256(written.encode()).hexdigest()


# The refusal


def test_the_refusal_lists_every_problem() -> None:
    found = check(eden_timeout=0, eden_log_level="loud")
    error = inputs.refusal(found, "lab")
    assert error.message.splitlines() == [
        "2 inputs of lab break a rule; nothing was written.",
        *(problem.line for problem in found),
    ]
    assert error.as_result()["problems"][0] == {
        "variable": "eden_timeout",
        "rule": "must be an integer from 1 to 86400",
        "got": "0",
        "example": "300",
    }
    assert inputs.refusal(found[:1], "lab").message.startswith("One input of lab breaks a rule;")


def test_the_refusal_is_never_long() -> None:
    error = inputs.refusal(check(eden_image_pull_secrets=["/"] * 1000), "lab")
    assert error.message.endswith("more problems are not listed.")
    assert len(error.message.splitlines()) == 52
    assert len(error.as_result()["problems"]) == 50


@pytest.mark.parametrize("name", ["a\u202eb", "a\nb", "x" * 10**6])
def test_names_of_the_user_are_shown_short_and_in_ascii(name: str) -> None:
    message = inputs.refusal(inputs.check({**RIGHT, f"eden_{name}": 1}), name).message
    assert message.isascii()
    assert len(message) < 1000
    assert len(message.splitlines()) == 2
