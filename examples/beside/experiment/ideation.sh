# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
# Propose one number per question of the host: 7, 14, 21, … The host's lines are JSON, and so are the answers.

number=0
echo '{"event": "ready"}'
while read -r line; do
    task=$(printf '%s\n' "$line" | sed -n 's/.*"task_id": *"\([^"]*\)".*/\1/p')
    [ -n "$task" ] || continue
    number=$((number + 7))
    printf '{"event": "idea", "task_id": "%s", "slug": "number-%d", "priority": 1.0, "parent_commits": ["%s"], "content": "%d"}\n' \
        "$task" "$number" "$EDEN_BASE_COMMIT_SHA" "$number"
    printf '{"event": "ideation-done", "task_id": "%s"}\n' "$task"
done
