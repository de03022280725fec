# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import os
import pathlib
import typing as t

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.eden.reference.plugins.module_utils._eden import experiment_config, inputs
from ansible_collections.eden.reference.plugins.module_utils._eden.values import Problem, Unresolved

ROLE = pathlib.Path(__file__).parents[5] / "roles" / "eden"
SPEC = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())["argument_specs"]["inputs"][
    "options"
]
DEFAULTS = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
# The defaults with their templates worked out, and what has no default.
RIGHT: dict[str, t.Any] = {**DEFAULTS, "eden_name": "eden", "eden_namespace": "eden", "eden_image": "eden:1"}

ID = "exp_01jabcdefghjkmnpqrstvwxyz0"
DIGEST = "sha256:" + "0123456789abcdef" * 4

NOW = "requiredDuringSchedulingIgnoredDuringExecution"
TERM = f".nodeAffinity.{NOW}.nodeSelectorTerms[0]"


def check(**changes: t.Any) -> list[Problem]:
    return inputs.check({**RIGHT, **changes})


def test_the_defaults_are_right() -> None:
    assert check() == []


def test_the_rules_the_spec_and_the_defaults_name_the_same_inputs() -> None:
    assert set(inputs.RULES) == set(SPEC)
    assert set(SPEC) - {name for name in SPEC if SPEC[name].get("required")} == set(DEFAULTS)
    assert {name for name in SPEC if SPEC[name].get("required")} == set(inputs.REQUIRED)


@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_the_spec_documents_the_default(name: str) -> None:
    assert SPEC[name]["default"] == DEFAULTS[name]


@pytest.mark.parametrize("name", sorted(name for name in SPEC if "choices" in SPEC[name]))
def test_the_spec_documents_the_choices(name: str) -> None:
    assert all(check(**{name: choice}) == [] for choice in SPEC[name]["choices"])
    [problem] = check(**{name: "other"})
    assert problem.rule == f"must be one of {', '.join(SPEC[name]['choices'])}"


@pytest.mark.parametrize("name", ["eden_replicas", "eden_storage_sizes"])
def test_the_spec_documents_the_keys(name: str) -> None:
    [problem] = check(**{name: {"zzz": 1}})
    assert problem.rule == f"is not a key of {name}; its keys are {', '.join(SPEC[name]['options'])}"


def test_the_default_config_is_the_one_that_a_file_may_replace() -> None:
    assert DEFAULTS["eden_experiment_config"] == experiment_config.DEFAULT


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("eden_name", "e"),
        ("eden_name", "e" * 32),
        ("eden_name", "a-1--b"),
        ("eden_namespace", "1"),
        ("eden_namespace", "n" * 63),
        ("eden_kubeconfig", "~/a file.yaml"),
        ("eden_context", "admin@cluster/eu:west"),
        ("eden_image", f"eden@{DIGEST}"),
        ("eden_image", f"eden:latest@{DIGEST}"),
        ("eden_image", "localhost:5000/eden:1"),
        ("eden_image", "registry.example.org:5000/a/b__c-d.e/eden:V1.0_rc-1"),
        ("eden_image", "[2001:db8::1]:5000/eden:1"),
        ("eden_image", "eden:" + "1" * 128),
        ("eden_image_pull_secrets", ["a", "b.c"]),
        ("eden_experiment_id", ID),
        ("eden_replicas", {"executor_host": 99, "task_store": 0}),
        ("eden_storage_class", "fast.example.org"),
        ("eden_storage_sizes", {"postgres": "1Mi", "blob": "10Ti"}),
        ("eden_node_selector", {"kubernetes.io/os": "linux", "gpu": ""}),
        ("eden_tolerations", [{"operator": "Exists"}, {"key": "a", "value": "b", "effect": "NoSchedule"}]),
        (
            "eden_tolerations",
            [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}],
        ),
        ("eden_affinity", {"nodeAffinity": {}, "podAffinity": {}}),
        (
            "eden_affinity",
            {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [
                            {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
                        ]
                    }
                },
                "podAntiAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        {
                            "weight": 100,
                            "podAffinityTerm": {
                                "topologyKey": "kubernetes.io/hostname",
                                "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "eden"}},
                            },
                        }
                    ]
                },
            },
        ),
        (
            "eden_resources",
            {"requests": {"cpu": 1, "memory": "1e3"}, "limits": {"cpu": 1.5, "memory": "1Ki"}},
        ),
        (
            "eden_resources",
            {"limits": {"nvidia.com/gpu": 1, "hugepages-2Mi": "4Mi", "ephemeral-storage": "1.5Gi"}},
        ),
        ("eden_postgres_resources", {"requests": {"cpu": "100m"}}),
        ("eden_web_ui_peers", [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "proxy"}}}]),
        ("eden_worker_egress", [{"to": [{"ipBlock": {"cidr": "2001:db8::/32"}}], "ports": [{"port": 443}]}]),
        ("eden_ingress", {"host": "eden.example.org"}),
        (
            "eden_ingress",
            {
                "host": "eden",
                "class_name": "nginx",
                "annotations": {"example.org/a": ""},
                "tls_secret": "eden-tls",
            },
        ),
        ("eden_disruption_budgets", False),
        ("eden_max_unavailable", 0),
        (
            "eden_web_ui_peers",
            [{"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.0/25", "192.0.2.128/32"]}}],
        ),
        ("eden_worker_egress", [{}, {"ports": [{"port": 80, "endPort": 80}]}]),
        (
            "eden_affinity",
            {
                "nodeAffinity": {
                    NOW: {
                        "nodeSelectorTerms": [
                            {
                                "matchExpressions": [
                                    {"key": "a", "operator": "Exists"},
                                    {"key": "b", "operator": "Gt", "values": ["4"]},
                                ],
                                "matchFields": [
                                    {"key": "metadata.name", "operator": "In", "values": ["node.b"]}
                                ],
                            }
                        ]
                    }
                },
                "podAffinity": {
                    NOW: [
                        {
                            "topologyKey": "a",
                            "labelSelector": {},
                            "matchLabelKeys": ["a"],
                            "namespaces": ["b"],
                        }
                    ]
                },
            },
        ),
        ("eden_resources", {"requests": {"nvidia.com/gpu": "1"}, "limits": {"nvidia.com/gpu": 1}}),
        ("eden_storage_sizes", {"blob": "8388607Ti"}),
        ("eden_timeout", 1),
        ("eden_timeout", 86400),
        ("eden_poll_interval", 86400),
        ("eden_poll_interval", 0.001),
        ("eden_poll_interval", 3),
        ("eden_log_level", "debug"),
        ("eden_task_store_url", "http://10.0.0.1"),
        ("eden_task_store_url", "https://eden.example.org:8443/store/"),
        ("eden_task_store_url", "http://[::1]:8080"),
        ("eden_existing_secret", "eden.credentials"),
    ],
)
def test_what_is_right(name: str, value: object) -> None:
    assert check(**{name: value}) == []


@pytest.mark.parametrize("name", sorted(inputs.FACTS))
def test_facts_of_the_phases_are_known(name: str) -> None:
    assert check(**{name: object()}) == []


@pytest.mark.parametrize("name", sorted(set(inputs.RULES) - {"eden_experiment_config"}))
@pytest.mark.parametrize(
    "value", [None, True, 3, 2.5, "", " ", "\x00", [], {}, ["x"], {"x": 1}, b"x", "{{ x }}"]
)
def test_each_input_takes_values_of_its_own_type_only(name: str, value: object) -> None:
    right = RIGHT[name]
    kind = value.__class__
    same_type = kind is right.__class__ or (name == "eden_poll_interval" and kind is int)
    found = check(**{name: value})
    assert {problem.variable.partition("[")[0].partition(".")[0] for problem in found} <= {name}
    if not same_type or value in (" ", "\x00", "{{ x }}"):
        assert len(found) == 1


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        (
            "eden_name",
            "Eden",
            "eden_name: must be a name of 1 to 32 lower-case letters, digits and -, with a letter first "
            "and a letter or digit last, got 'Eden'; for example eden",
        ),
        (
            "eden_image",
            "eden",
            "eden_image: must be an image with a tag or a digest, such as registry.example.org/eden:1.0.0, "
            "got 'eden', which has neither",
        ),
        (
            "eden_image",
            "eden:latest",
            "eden_image: must be an image with a tag or a digest, such as registry.example.org/eden:1.0.0, "
            "got 'eden:latest', which has the tag latest, whose content changes",
        ),
        (
            "eden_storage_sizes",
            {"postgres": "10G"},
            "eden_storage_sizes.postgres: must be a size such as 10Gi (whole number and Mi, Gi or Ti), "
            "got '10G'",
        ),
        (
            "eden_storage_sizes",
            {"postgress": "10Gi"},
            "eden_storage_sizes.postgress: is not a key of eden_storage_sizes; did you mean postgres?",
        ),
        (
            "eden_replicas",
            {"web_ui": 2},
            "eden_replicas.web_ui: must be a whole number from 0 to 1, got 2",
        ),
        (
            "eden_replicas",
            {"executor_host": "3"},
            "eden_replicas.executor_host: must be a whole number from 0 to 99, got the text '3'; "
            "for example 1",
        ),
        (
            "eden_manage_namespace",
            "no",
            "eden_manage_namespace: must be true or false, got the text 'no'",
        ),
        (
            "eden_experiment_config",
            {**experiment_config.DEFAULT, "parallel_variants": 0},
            "eden_experiment_config.parallel_variants: must be a whole number of at least 1, got 0",
        ),
        (
            "eden_experiment_config",
            {**experiment_config.DEFAULT, "objective": Unresolved("'x' is undefined")},
            "eden_experiment_config.objective: must be a mapping with the keys expr, direction, "
            "got a template that could not be worked out: 'x' is undefined; "
            "for example {expr: score, direction: maximize}",
        ),
        (
            "eden_experiment_config",
            {**experiment_config.DEFAULT, "extra": [Unresolved("'x' is undefined")]},
            "eden_experiment_config.extra[0]: must be a value or a template that can be worked out, "
            "got a template that could not be worked out: 'x' is undefined; "
            "for example '{{ inventory_hostname }}'",
        ),
        (
            "eden_tolerations",
            [{"key": Unresolved("'x' is undefined")}],
            "eden_tolerations[0].key: must be a label key, or empty, "
            "got a template that could not be worked out: 'x' is undefined; for example dedicated",
        ),
        ("eden_storage_size", "1Gi", "eden_storage_size: is not an input; did you mean eden_storage_sizes?"),
        (
            "eden_admin_token",
            "hunter2",
            "eden_admin_token: is not an input; the names that begin with eden_ are kept for the inputs of "
            "eden.reference; for example eden_name",
        ),
        (
            "eden_existing_secret",
            "hunter 2",
            "eden_existing_secret: must be the name of a Secret, or empty, got a value that is not shown; "
            "for example eden-credentials",
        ),
        (
            "eden_task_store_url",
            "http://user:hunter2@eden",
            "eden_task_store_url: must be an http or https URL, or empty for a port-forward, "
            "got 'http://***@eden', which holds a user name; for example https://eden.example.org:8080",
        ),
        (
            "eden_resources",
            {"requests": {"memory": "1Gi"}, "limits": {"memory": "512Mi"}},
            "eden_resources.requests.memory: must not be greater than the limit '512Mi', got '1Gi'",
        ),
        (
            "eden_resources",
            {"limits": {"memory": "512m"}},
            "eden_resources.limits.memory: must be a whole number of bytes such as 512Mi: "
            "m means a thousandth, got '512m'",
        ),
    ],
)
def test_the_line_says_variable_rule_value_and_example(name: str, value: object, line: str) -> None:
    assert [problem.line for problem in check(**{name: value})] == [line]


WRONG: list[tuple[str, t.Any, str]] = [
    *(
        ("eden_name", value, "")
        for value in (
            "",
            "e" * 33,
            "1a",
            "-a",
            "a-",
            "a_b",
            "a.b",
            "A",
            "ä",
            "ed\u0435n",
            "a b",
            "a\n",
            "xn--\u00e9",
        )
    ),
    *(
        ("eden_namespace", value, "")
        for value in ("", "n" * 64, "a_b", "a-", "a.b", "N", "kube-system", "kube-x")
    ),
    *(
        ("eden_image", value, "")
        for value in (
            *(
                "",
                " eden:1",
                "eden :1",
                "eden:",
                "eden:1@",
                "EDEN:1",
                "eden:1:2",
                "eden:" + "1" * 129,
                "eden:-1",
            ),
            *("eden@sha256:abc", f"eden@{DIGEST.upper()}", "https://registry/eden:1", "localhost:5000/eden"),
            *(
                "localhost:0/eden:1",
                "localhost:99999/eden:1",
                "a//eden:1",
                "/eden:1",
                "registry/:1",
                "ed\u0435n:1",
            ),
            *("e" * 256 + ":1", "eden:1\u200b", "{{ image }}:1"),
        )
    ),
    *(
        ("eden_experiment_id", value, "")
        for value in ("exp-1", ID.upper(), ID[:-1], ID + "0", "exp_" + "i" * 26, "wkr_" + ID[4:], ID + "\n")
    ),
    *(
        ("eden_storage_sizes", {"blob": value}, ".blob")
        for value in (
            "10G",
            "10",
            "0Gi",
            "00Gi",
            "-1Gi",
            "1.5Gi",
            "1gi",
            " 1Gi",
            "1 Gi",
            "\u0661Gi",
            10,
            None,
            "9" * 10 + "Gi",
        )
    ),
    *(
        ("eden_replicas", {"task_store": value}, ".task_store")
        for value in (-1, 2, 1.0, True, "1", None, [1])
    ),
    *(("eden_replicas", {"executor_host": value}, ".executor_host") for value in (-1, 100, 10**30)),
    *(("eden_timeout", value, "") for value in (0, -1, 86401, 1.5, True, "300", float("nan"))),
    *(("eden_poll_interval", value, "") for value in (0, -1, 0.0, False, "1", float("inf"), float("nan"))),
    *(
        ("eden_task_store_url", value, "")
        for value in (
            *(
                "eden",
                "ftp://eden",
                "http://",
                "http:///x",
                "https://e den",
                "http://eden:0",
                "http://eden:99999",
            ),
            *(
                "http://eden:x",
                "http://[::1",
                "http://eden?x",
                "http://eden#x",
                "http://\u0435den",
                "http://-eden",
            ),
        )
    ),
    *(("eden_storage_class", value, "") for value in ("A", "a_b", "a..b", "-", "x" * 254)),
    *(
        ("eden_image_pull_secrets", value, suffix)
        for value, suffix in (([""], "[0]"), (["a", 1], "[1]"), ("a", ""))
    ),
    *(
        ("eden_node_selector", value, suffix)
        for value, suffix in (
            ({"a": True}, ".a"),
            ({"a": "b c"}, ".a"),
            ({"a": "x" * 64}, ".a"),
            ({"/a": "b"}, "['/a']"),
            ({"A_/a": "b"}, "['A_/a']"),
            ({1: "b"}, "[1]"),
        )
    ),
    *(
        ("eden_tolerations", [value], suffix)
        for value, suffix in (
            ("a", "[0]"),
            ({}, "[0].key"),
            ({"key": "a", "operator": "Exist"}, "[0].operator"),
            ({"key": "a", "effect": "None"}, "[0].effect"),
            ({"key": "a", "operator": "Exists", "value": "b"}, "[0].value"),
            ({"key": "a", "tolerationSeconds": 3}, "[0].tolerationSeconds"),
            ({"key": "a", "tolerationSecs": 3}, "[0].tolerationSecs"),
        )
    ),
    *(
        ("eden_affinity", value, suffix)
        for value, suffix in (
            ({"podAntiAfinity": {}}, ".podAntiAfinity"),
            ({"nodeAffinity": []}, ".nodeAffinity"),
            (
                {
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}
                    }
                },
                ".nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms",
            ),
            (
                {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"labelSelector": {}}]}},
                ".podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey",
            ),
        )
    ),
    *(
        ("eden_resources", value, suffix)
        for value, suffix in (
            ({"request": {}}, ".request"),
            ({"limits": {"mem": "1Gi"}}, ".limits.mem"),
            ({"limits": {"memory": "1GB"}}, ".limits.memory"),
            ({"limits": {"memory": "-1Gi"}}, ".limits.memory"),
            ({"limits": {"memory": True}}, ".limits.memory"),
            ({"limits": {"memory": None}}, ".limits.memory"),
            ({"limits": {"memory": 1.5}}, ".limits.memory"),
            ({"limits": {"cpu": float("nan")}}, ".limits.cpu"),
            ({"limits": {"cpu": "1e999"}}, ".limits.cpu"),
            ({"requests": {"cpu": "1001m"}, "limits": {"cpu": 1}}, ".requests.cpu"),
            ({"limits": ["cpu"]}, ".limits"),
        )
    ),
    *(
        ("eden_ingress", value, suffix)
        for value, suffix in (
            ("eden.example.org", ""),
            ({"class_name": "nginx"}, ".host"),
            ({"host": "Eden.example.org"}, ".host"),
            ({"host": "https://eden.example.org"}, ".host"),
            ({"host": "eden.example.org", "tls": []}, ".tls"),
            ({"host": "eden.example.org", "annotations": {"a b": "c"}}, ".annotations['a b']"),
            ({"host": "eden.example.org", "annotations": {"a": 1}}, ".annotations.a"),
            ({"host": "eden.example.org", "tls_secret": "Not a name"}, ".tls_secret"),
        )
    ),
    ("eden_max_unavailable", -1, ""),
    ("eden_disruption_budgets", "no", ""),
    *(
        ("eden_web_ui_peers", value, suffix)
        for value, suffix in (
            ({"podSelector": {}}, ""),
            ([{"podSelectors": {}}], "[0].podSelectors"),
            ([{"ipBlock": {}}], "[0].ipBlock.cidr"),
            ([{"ipBlock": {"cidr": "192.0.2.1"}}], "[0].ipBlock.cidr"),
            ([{"ipBlock": {"cidr": "192.0.2.1/24"}}], "[0].ipBlock.cidr"),
            ([{"ipBlock": {"cidr": "192.0.2.0/24", "except": ["x"]}}], "[0].ipBlock.except[0]"),
        )
    ),
    *(
        ("eden_worker_egress", [value], suffix)
        for value, suffix in (
            ({"from": []}, "[0].from"),
            ({"ports": [{"port": 70000}]}, "[0].ports[0].port"),
            ({"ports": [{"protocol": "tcp"}]}, "[0].ports[0].protocol"),
        )
    ),
    *(
        ("eden_resources", value, suffix)
        for value, suffix in (
            ({"limits": {"nvidia.com/gpu": "0.5"}}, ".limits['nvidia.com/gpu']"),
            ({"requests": {"nvidia.com/gpu": 1}}, ".limits['nvidia.com/gpu']"),
            (
                {"requests": {"nvidia.com/gpu": 1}, "limits": {"nvidia.com/gpu": 2}},
                ".limits['nvidia.com/gpu']",
            ),
            ({"limits": {"hugepages-x": 1}}, ".limits.hugepages-x"),
            ({"limits": {"hugepages-2Mi": "3Mi"}}, ".limits.hugepages-2Mi"),
            ({"limits": {"kubernetes.io/x": 1}}, ".limits['kubernetes.io/x']"),
        )
    ),
    ("eden_storage_sizes", {"blob": "8388608Ti"}, ".blob"),
    ("eden_image_pull_secrets", ["a", "b", "a"], "[2]"),
    ("eden_kubeconfig", "x" * 4097, ""),
    ("eden_context", "x" * 1025, ""),
    ("eden_task_store_url", "http://eden/" + "x" * 2048, ""),
    *(("eden_poll_interval", value, "") for value in (86401, 10**400)),
    (
        "eden_tolerations",
        [{"key": "a", "effect": "NoExecute", "tolerationSeconds": 2**63}],
        "[0].tolerationSeconds",
    ),
    *(
        ("eden_affinity", {"nodeAffinity": {NOW: {"nodeSelectorTerms": [{key: [expression]}]}}}, suffix)
        for key, expression, suffix in (
            ("matchExpressions", {"key": "a", "operator": "In"}, f"{TERM}.matchExpressions[0].values"),
            (
                "matchExpressions",
                {"key": "a", "operator": "Exists", "values": ["b"]},
                f"{TERM}.matchExpressions[0].values",
            ),
            (
                "matchExpressions",
                {"key": "a", "operator": "Gt", "values": ["b"]},
                f"{TERM}.matchExpressions[0].values",
            ),
            (
                "matchExpressions",
                {"key": "a", "operator": "Lt", "values": ["1", "2"]},
                f"{TERM}.matchExpressions[0].values",
            ),
            (
                "matchExpressions",
                {"key": "a", "operator": "In", "values": ["b c"]},
                f"{TERM}.matchExpressions[0].values[0]",
            ),
            ("matchFields", {"key": "a", "operator": "In", "values": ["b"]}, f"{TERM}.matchFields[0].key"),
            (
                "matchFields",
                {"key": "metadata.name", "operator": "In", "values": ["a", "b"]},
                f"{TERM}.matchFields[0].values",
            ),
        )
    ),
    *(
        (
            "eden_affinity",
            {"podAffinity": {NOW: [{"topologyKey": "a", **term}]}},
            f".podAffinity.{NOW}[0]{suffix}",
        )
        for term, suffix in (
            ({"namespaces": ["A"]}, ".namespaces[0]"),
            ({"matchLabelKeys": ["a"]}, ".labelSelector"),
            ({"labelSelector": {}, "matchLabelKeys": ["/"]}, ".matchLabelKeys[0]"),
            (
                {"labelSelector": {}, "matchLabelKeys": ["a"], "mismatchLabelKeys": ["a"]},
                ".mismatchLabelKeys",
            ),
            (
                {"labelSelector": {"matchExpressions": [{"key": "a", "operator": "NotIn"}]}},
                ".labelSelector.matchExpressions[0].values",
            ),
        )
    ),
    *(
        ("eden_web_ui_peers", [value], suffix)
        for value, suffix in (
            ({}, "[0]"),
            ({"podSelector": {}, "ipBlock": {"cidr": "192.0.2.0/24"}}, "[0].ipBlock"),
            ({"ipBlock": {"cidr": "192.0.2.0/255.255.255.0"}}, "[0].ipBlock.cidr"),
            ({"ipBlock": {"cidr": "192.0.2.0/024"}}, "[0].ipBlock.cidr"),
            ({"ipBlock": {"cidr": "fe80::%1/64"}}, "[0].ipBlock.cidr"),
            ({"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.0/24"]}}, "[0].ipBlock.except[0]"),
            ({"ipBlock": {"cidr": "192.0.2.0/24", "except": ["2001:db8::/64"]}}, "[0].ipBlock.except[0]"),
        )
    ),
    ("eden_worker_egress", [{"ports": [{"endPort": 443}]}], "[0].ports[0].endPort"),
    ("eden_worker_egress", [{"ports": [{"port": 8443, "endPort": 443}]}], "[0].ports[0].endPort"),
    *(("eden_forgejo_image", value, "") for value in ("forgejo", "forgejo:latest")),
    *(("eden_postgres_image", value, "") for value in ("postgres", "postgres:latest")),
]


@pytest.mark.parametrize(("name", "value", "suffix"), WRONG)
def test_what_is_wrong(name: str, value: object, suffix: str) -> None:
    assert [problem.variable for problem in check(**{name: value})] == [name + suffix]


@pytest.mark.parametrize(("name", "value", "suffix"), WRONG)
def test_every_problem_has_a_rule_on_one_line(name: str, value: object, suffix: str) -> None:
    [problem] = check(**{name: value})
    assert problem.rule
    assert problem.line.isprintable()


def test_all_problems_are_found_at_once() -> None:
    found = check(
        eden_name="X", eden_timeout="1", eden_storage_sizes={"blob": "1", "x": 1}, eden_imge="eden:1"
    )
    assert [problem.variable for problem in found] == [
        "eden_imge",
        "eden_name",
        "eden_storage_sizes.x",
        "eden_storage_sizes.blob",
        "eden_timeout",
    ]


def test_the_image_has_no_default() -> None:
    found = inputs.check({name: value for name, value in RIGHT.items() if name != "eden_image"})
    assert [problem.line for problem in found] == [
        "eden_image: is required; for example registry.example.org/eden:1.0.0"
    ]


def test_a_namespace_by_default_does_not_repeat_the_problem_of_the_name() -> None:
    assert [problem.variable for problem in check(eden_name="A_b", eden_namespace="A_b")] == ["eden_name"]
    assert [problem.variable for problem in check(eden_namespace="A_b")] == ["eden_namespace"]


def test_variables_of_others_are_not_looked_at() -> None:
    assert inputs.check({**RIGHT, "ansible_host": object(), "edenx": None, "__eden_names": {}}) == []


def test_a_file_is_read_and_checked(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "parallel_variants: 1\nevaluation_schema: {status: real}\nobjective: {expr: x, direction: up}\n"
    )
    assert [problem.variable for problem in check(eden_experiment_config_file=str(path))] == [
        "eden_experiment_config_file.evaluation_schema.status",
        "eden_experiment_config_file.objective.direction",
    ]


def test_a_file_in_the_home_directory(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "config.yaml").write_text(experiment_config.dump(experiment_config.DEFAULT))
    assert check(eden_experiment_config_file="~/config.yaml") == []


def test_a_file_excludes_a_config() -> None:
    config = {**experiment_config.DEFAULT, "parallel_variants": 2}
    found = check(eden_experiment_config=config, eden_experiment_config_file="/nowhere")
    assert [problem.line for problem in found] == [
        "eden_experiment_config_file: excludes eden_experiment_config: leave one of the two out; "
        "for example ''"
    ]


def missing_file(folder: pathlib.Path) -> pathlib.Path:
    return folder / "missing.yaml"


def pipe(folder: pathlib.Path) -> pathlib.Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


@pytest.mark.parametrize("content", ["hunter2", "- hunter2", "12345", "", "hunter2:hunter3"])
def test_what_a_file_of_something_else_holds_is_not_told(content: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "token"
    path.write_text(content)
    [problem] = check(eden_experiment_config_file=str(path))
    assert problem.got.endswith("which holds no mapping")
    assert "hunter" not in problem.line.replace(str(tmp_path), "")


def directory(folder: pathlib.Path) -> pathlib.Path:
    return folder


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (missing_file, "No such file or directory"),
        (pipe, "it is not a regular file"),
        (directory, "Is a directory"),
    ],
)
def test_a_file_that_is_none(
    make: t.Callable[[pathlib.Path], pathlib.Path], reason: str, tmp_path: pathlib.Path
) -> None:
    [problem] = check(eden_experiment_config_file=str(make(tmp_path)))
    assert problem.variable == "eden_experiment_config_file"
    assert f"({reason})" in problem.got


def test_the_text_of_a_file_is_kept() -> None:
    content = b"# kept\r\nparallel_variants:  1\n"
    variables = {**RIGHT, "eden_experiment_config_file": "x"}
    assert inputs.config_text(variables, lambda _path: content).encode() == content


def test_the_text_of_a_mapping_is_sorted() -> None:
    written = inputs.config_text({"eden_experiment_config": {"b": 1, "a": {"d": 1, "c": 2}}})
    assert written == "a:\n  c: 2\n  d: 1\nb: 1\n"
    assert inputs.checksum(written) == hashlib.sha256(written.encode()).hexdigest()


def test_the_refusal_lists_every_problem() -> None:
    found = check(eden_timeout=0, eden_log_level="loud")
    error = inputs.refusal(found, "lab")
    assert error.message.splitlines() == [
        "2 inputs of lab break a rule; nothing was written.",
        *(problem.line for problem in found),
    ]
    assert error.as_result()["problems"][0] == {
        "variable": "eden_timeout",
        "rule": "must be a whole number from 1 to 86400",
        "got": "0",
        "example": "300",
    }
    assert inputs.refusal(found[:1], "lab").message.startswith("One input of lab breaks a rule;")


def test_the_refusal_does_not_list_what_nobody_reads() -> None:
    error = inputs.refusal(check(eden_image_pull_secrets=["/"] * 1000), "lab")
    assert error.message.startswith("1000 inputs of lab break a rule;")
    assert error.message.endswith("\n950 more problems are not listed.")
    assert len(error.message.splitlines()) == 52
    assert len(error.as_result()["problems"]) == 50


@pytest.mark.parametrize("name", ["a\u202eb", "a\nb", "x" * 10**6])
def test_names_of_the_user_are_told_short_and_in_ascii(name: str) -> None:
    message = inputs.refusal(inputs.check({**RIGHT, f"eden_{name}": 1}), name).message
    assert message.isascii()
    assert len(message) < 1000
    assert len(message.splitlines()) == 2


# Properties. The same examples in every run, so that a failure is the change's.

prove = settings(max_examples=300, deadline=None, database=None, derandomize=True)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=80),
    st.dates(),
    st.builds(Unresolved, st.just("'x' is undefined")),
)
trees = st.recursive(
    scalars,
    lambda parts: (
        st.lists(parts, max_size=3) | st.dictionaries(st.text(max_size=8) | st.integers(), parts, max_size=3)
    ),
    max_leaves=12,
)
names = st.sampled_from(sorted(inputs.RULES))
# Keys that the rules know lead deeper into them than made-up ones.
KNOWN_KEYS = sorted(
    {
        *SPEC["eden_replicas"]["options"],
        *SPEC["eden_storage_sizes"]["options"],
        *experiment_config._KEYS,
        *(
            "kind",
            "requests",
            "limits",
            "cpu",
            "memory",
            "key",
            "operator",
            "value",
            "effect",
            "tolerationSeconds",
        ),
        *(
            "nodeAffinity",
            "podAffinity",
            "requiredDuringSchedulingIgnoredDuringExecution",
            "nodeSelectorTerms",
        ),
        *("expr", "direction", "enabled", "metrics", "score", "target", "total", "metric", "termination"),
    }
)
WORDS = [
    "fixed_total",
    "target_condition",
    "max_wall_time",
    "auto",
    "real",
    "Exists",
    "1Gi",
    "500m",
    "",
    "{{ x }}",
]
likely_trees = st.recursive(
    scalars | st.sampled_from(WORDS),
    lambda parts: (
        st.lists(parts, max_size=2) | st.dictionaries(st.sampled_from(KNOWN_KEYS), parts, max_size=5)
    ),
    max_leaves=20,
)


@prove
@given(st.dictionaries(names | st.text(max_size=20).map("eden_{}".format), trees | likely_trees, max_size=8))
def test_any_values_give_problems_and_never_an_exception(variables: dict[str, t.Any]) -> None:
    for problem in inputs.check(variables, lambda _path: b"\xff"):
        assert problem.line.isprintable()
        assert problem.line.isascii()
        assert len(problem.line) < 1000


@prove
@given(names, trees | likely_trees)
def test_a_wrong_value_is_reported_under_its_own_name(name: str, value: t.Any) -> None:
    variables = {**RIGHT, name: value}
    for problem in inputs.check(variables, lambda _path: b"\xff"):
        assert problem.variable == name or problem.variable.startswith((f"{name}.", f"{name}["))


@prove
@given(names, st.text(min_size=1, max_size=5))
def test_a_misspelled_name_is_refused(name: str, extra: str) -> None:
    found = inputs.check({**RIGHT, name + extra: RIGHT[name]})
    assert (len(found) == 1) == (name + extra not in inputs.RULES)


@prove
@given(st.text(max_size=40))
def test_a_name_that_passes_is_a_name_of_a_service(value: str) -> None:
    passes = not check(eden_name=value, eden_namespace="eden")
    service = len(value) <= 32 and value[:1].isalpha() and value[-1:] != "-"
    allowed = set(value) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert passes == bool(value and service and allowed)


@prove
@given(trees | likely_trees)
def test_a_config_that_passes_comes_back_from_its_text(value: t.Any) -> None:
    config = {**experiment_config.DEFAULT, "extra": value}
    if not check(eden_experiment_config=config):
        written = inputs.config_text({**RIGHT, "eden_experiment_config": config})
        assert inputs.checksum(written)
        again, problems = experiment_config.parse(written.encode(), "x")[1:]
        assert problems == []
        assert experiment_config.dump(again) == written


@prove
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode(errors="surrogatepass")))
def test_any_file_gives_problems_and_never_an_exception(content: bytes) -> None:
    variables = {**RIGHT, "eden_experiment_config_file": "x"}
    for problem in inputs.check(variables, lambda _path: content):
        assert problem.variable.startswith("eden_experiment_config_file")
        assert problem.line.isprintable()


@prove
@given(
    st.sampled_from(["requests", "limits"]),
    st.sampled_from(["cpu", "memory"]),
    st.from_regex(r"\+?[0-9]{0,16}\.?[0-9]{0,10}[a-zA-Z]{0,2}[+-]?[0-9]{0,3}", fullmatch=True),
)
def test_a_quantity_that_passes_has_an_amount(part: str, resource: str, value: str) -> None:
    found = check(eden_resources={part: {resource: value}})
    number = inputs.amount(value)
    assert found or (number is not None and number >= 0)
