# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad inputs by hand: what people write, and the words that must come back."""

from __future__ import annotations

import typing as t

from ansible_collections.eden.reference.plugins.module_utils._eden import experiment_config
from ansible_collections.eden.reference.plugins.module_utils._eden.values import Unresolved

ID = "exp_01jabcdefghjkmnpqrstvwxyz0"
NOW = "requiredDuringSchedulingIgnoredDuringExecution"
LARGE = "x" * 1024 * 1024


def config(**changes: t.Any) -> dict[str, t.Any]:
    """The default config with changes."""
    return {**experiment_config.DEFAULT, **changes}


class Case(t.NamedTuple):
    """Inputs over right ones, and what the refusal must say."""

    name: str
    inputs: dict[str, t.Any]
    words: tuple[str, ...]
    content: bytes = b""


def case(name: str, inputs: dict[str, t.Any], *words: str, content: bytes = b"") -> Case:
    """A case, for short."""
    return Case(name, inputs, words, content)


CASES = [
    # Types
    case(
        "number-for-a-name", {"eden_name": 7}, "eden_name: must be a name of 1 to 32", "the number 7", "eden"
    ),
    case(
        "yaml-no-for-a-context",
        {"eden_context": False},
        "eden_context: must be a context of the kubeconfig",
        "got the boolean false",
        "kind-eden",
    ),
    case(
        "yaml-on-for-a-log-level", {"eden_log_level": True}, "eden_log_level: must be one of debug,", "true"
    ),
    case("text-for-a-boolean", {"eden_manage_namespace": "no"}, "must be true or false", "the text 'no'"),
    case("number-for-a-boolean", {"eden_network_policies": 0}, "must be true or false", "got 0"),
    case(
        "text-for-a-number",
        {"eden_timeout": "600"},
        "eden_timeout: must be a whole number from 1 to 86400",
        """-e '{"eden_timeout": 600}'""",
    ),
    case(
        "text-for-a-list",
        {"eden_image_pull_secrets": "a"},
        "must be a list of names",
        "[registry-credentials]",
    ),
    case(
        "list-for-a-mapping", {"eden_replicas": [2]}, "must be a mapping with the keys task_store,", "a list"
    ),
    case("nothing-for-a-mapping", {"eden_storage_sizes": None}, "must be a mapping with the keys", "nothing"),
    case("nothing-for-an-image", {"eden_image": None}, "eden_image: must be an image with a tag", "nothing"),
    case("empty-image", {"eden_image": ""}, "eden_image: must be an image with a tag", "an empty text"),
    case(
        "blanks-for-a-name",
        {"eden_name": "  "},
        "eden_name: must be a name",
        "begins or ends with whitespace",
    ),
    case("no-image", {"eden_image": ...}, "eden_image: is required", "registry.example.org/eden:1.0.0"),
    # Templates
    case(
        "template-left-over",
        {"eden_context": "{{ cluster }}"},
        "eden_context: must be",
        "which holds a template that was not evaluated",
    ),
    case(
        "undefined-variable-inside",
        {"eden_resources": {"limits": {"cpu": Unresolved("'cpus' is undefined")}}},
        "eden_resources.limits.cpu: must be a Kubernetes quantity",
        "could not be worked out: 'cpus' is undefined",
        "500m",
    ),
    # Names that are no inputs
    case("singular", {"eden_replica": {}}, "eden_replica: is not an input; did you mean eden_replicas?"),
    case("two-letters-off", {"eden_tmeoot": 1}, "eden_tmeoot: is not an input; did you mean eden_timeout?"),
    case("exchanged-letters", {"eden_imgae": "a:1"}, "did you mean eden_image?"),
    case(
        "secret-as-variable", {"eden_admin_token": "hunter2"}, "eden_admin_token: is not an input", "are kept"
    ),
    case("key-off", {"eden_replicas": {"executor": 2}}, "is not a key of eden_replicas", "executor_host"),
    # Ids and names
    case("id-of-another-form", {"eden_experiment_id": "exp-1"}, "must be an experiment id (exp_ and 26", ID),
    case("id-in-capitals", {"eden_experiment_id": ID.upper()}, "must be an experiment id", "'EXP_01JABC"),
    case("id-too-short", {"eden_experiment_id": ID[:-1]}, "must be an experiment id (exp_ and 26"),
    case("id-too-long", {"eden_experiment_id": f"{ID}0"}, "must be an experiment id (exp_ and 26"),
    case("name-with-underscore", {"eden_name": "my_exp"}, "lower-case letters, digits and -", "'my_exp'"),
    case("name-in-capitals", {"eden_name": "Branin"}, "lower-case letters", "'Branin'; for example eden"),
    case("name-with-hyphen-last", {"eden_name": "branin-"}, "a letter or digit last"),
    case("name-that-would-be-cut", {"eden_name": "n" * 33}, "a name of 1 to 32"),
    case("name-of-another-alphabet", {"eden_name": "ed\u0435n"}, "lower-case letters", "'ed\\u0435n'"),
    case("namespace-too-long", {"eden_namespace": "n" * 64}, "a DNS label of 1 to 63"),
    case(
        "namespace-of-kubernetes",
        {"eden_namespace": "kube-system"},
        "not be a namespace of Kubernetes",
        "eden",
    ),
    case(
        "class-with-underscore", {"eden_storage_class": "my_class"}, "the name of a storage class", "standard"
    ),
    # Sizes and quantities
    case(
        "size-in-powers-of-ten", {"eden_storage_sizes": {"blob": "10G"}}, ".blob: must be a size such as 10Gi"
    ),
    case("size-of-nothing", {"eden_storage_sizes": {"blob": "0Gi"}}, ".blob: must be a size such as 10Gi"),
    case("negative-size", {"eden_storage_sizes": {"blob": "-1Gi"}}, ".blob: must be a size such as 10Gi"),
    case("thousandths-of-bytes", {"eden_resources": {"limits": {"memory": "512m"}}}, "m means a thousandth"),
    case(
        "request-above-limit",
        {"eden_resources": {"requests": {"cpu": 2}, "limits": {"cpu": "500m"}}},
        "eden_resources.requests.cpu: must not be greater than the limit '500m', got 2",
    ),
    case(
        "device-without-limit",
        {"eden_resources": {"requests": {"nvidia.com/gpu": 1}}},
        "equal to the request",
    ),
    # Images
    case("image-without-tag", {"eden_image": "eden"}, "an image with a tag or a digest", "which has neither"),
    case("latest", {"eden_image": "eden:latest"}, "which has the tag latest, whose content changes"),
    case("port-and-no-tag", {"eden_image": "localhost:5000/eden"}, "which has neither"),
    case("port-too-large", {"eden_image": "registry:99999/eden:1"}, "which is no image reference"),
    case("short-digest", {"eden_image": "eden@sha256:abc"}, "which is no image reference"),
    case("image-with-blank", {"eden_image": "registry/my eden:1"}, "which holds whitespace"),
    case("image-as-url", {"eden_image": "https://registry/eden:1"}, "which is a URL"),
    # URLs, ports, durations, numbers
    case(
        "url-with-password",
        {"eden_task_store_url": "http://me:hunter2@eden"},
        "'http://***@eden'",
        "a user name",
    ),
    case("url-of-a-database", {"eden_task_store_url": "postgresql://db"}, "which is not http or https"),
    case("url-with-half-an-address", {"eden_task_store_url": "http://[::1"}, "which is no URL"),
    case("url-with-port-too-large", {"eden_task_store_url": "http://eden:70000"}, "which is no URL"),
    case("egress-port", {"eden_worker_egress": [{"ports": [{"port": 0}]}]}, "a whole number from 1 to 65535"),
    case("netmask", {"eden_web_ui_peers": [{"ipBlock": {"cidr": "10.0.0.0/255.0.0.0"}}]}, "an address range"),
    case("peer-of-nothing", {"eden_web_ui_peers": [{}]}, "eden_web_ui_peers[0]: must have one of the keys"),
    case("timeout-of-nothing", {"eden_timeout": 0}, "a whole number from 1 to 86400, got 0"),
    case("interval-without-end", {"eden_poll_interval": float("inf")}, "greater than 0 and at most 86400"),
    case(
        "two-web-uis",
        {"eden_replicas": {"web_ui": 2}},
        "eden_replicas.web_ui: must be a whole number from 0 to 1",
    ),
    case(
        "a-hundred-hosts", {"eden_replicas": {"executor_host": 100}}, "a whole number from 0 to 99, got 100"
    ),
    case("same-secret-twice", {"eden_image_pull_secrets": ["a", "a"]}, "[1]: must not name a Secret again"),
    case(
        "term-without-values",
        {
            "eden_affinity": {
                "nodeAffinity": {
                    NOW: {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "In"}]}]}
                }
            }
        },
        "matchExpressions[0].values: must hold a value with the operator In",
    ),
    # Characters
    case(
        "control-character", {"eden_context": "a\x1b[31mb"}, "'a\\x1b[31mb', which holds a control character"
    ),
    case("right-to-left", {"eden_kubeconfig": "/tmp/\u202efnoc"}, "a character that does not show (U+202E)"),
    case("a-mebibyte", {"eden_context": LARGE}, "at most 1024 characters, or empty, got 'xxx", "xxx...'"),
    # The experiment config
    case(
        "file-and-config",
        {"eden_experiment_config_file": "config.yaml", "eden_experiment_config": config(parallel_variants=2)},
        "eden_experiment_config_file: excludes eden_experiment_config",
    ),
    case(
        "file-that-is-not-there",
        {"eden_experiment_config_file": "/nowhere/config.yaml"},
        "must name a YAML file on this machine",
        "'/nowhere/config.yaml' (No such file or directory)",
        "{{ inventory_dir }}/experiment-config.yaml",
    ),
    case(
        "file-of-something-else",
        {"eden_experiment_config_file": "../../../../etc/passwd"},
        "'../../../../etc/passwd', which holds no mapping",
        content=b"root:hunter2:0:0:root:/root:/bin/bash\n",
    ),
    case(
        "file-that-is-no-yaml",
        {"eden_experiment_config_file": "config.yaml"},
        "must name a YAML file with one mapping, got one that cannot be read",
        "(line 2, column 1)",
        content=b"password: 'hunter2\n",
    ),
    case(
        "file-that-is-too-large",
        {"eden_experiment_config_file": "config.yaml"},
        "must be smaller than 1020 KiB, the room of a ConfigMap",
        content=b"#" * (1024 * 1024),
    ),
    case(
        "config-that-is-too-large",
        {"eden_experiment_config": config(notes=LARGE)},
        "must be smaller than 1020 KiB, the room of a ConfigMap",
    ),
    case(
        "metric-that-the-database-uses",
        {"eden_experiment_config": config(evaluation_schema={"status": "real"})},
        "evaluation_schema.status: the name of a metric must not be status",
        "my_status",
    ),
    case(
        "duration",
        {"eden_experiment_config": config(termination_policy={"kind": "max_wall_time", "duration": "2h"})},
        "termination_policy.duration: must be an ISO 8601 duration greater than 0, got '2h'",
        "PT2H",
    ),
    case(
        "key-of-the-config",
        {"eden_experiment_config": config(baselune={"enabled": False})},
        "eden_experiment_config.baselune: is not a key that EDEN reads; did you mean baseline?",
    ),
    case(
        "policy-that-is-missing",
        {"eden_experiment_config": config(dispatch_mode={"termination": "auto"})},
        "termination_policy: is required, since dispatch_mode.termination is auto",
    ),
]
