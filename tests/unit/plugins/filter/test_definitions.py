# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter definitions."""

from __future__ import annotations

import pytest
import yaml

from ansible_collections.eden.reference.plugins.filter.definitions import definitions


def test_the_documents_of_all_texts_in_their_order() -> None:
    assert definitions(["kind: A\n---\nkind: B\n", "kind: C"]) == [{"kind": kind} for kind in "ABC"]


@pytest.mark.parametrize("nothing", ["", "\n", "# a comment\n", "---\n", "---\n# one\n---\n"])
def test_a_template_that_renders_to_nothing_defines_no_object(nothing: str) -> None:
    assert definitions([nothing, "kind: A"]) == [{"kind": "A"}]


def test_what_is_no_yaml_is_refused() -> None:
    with pytest.raises(yaml.YAMLError):
        definitions(["kind: [A"])
