# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
# Turn an idea into a commit: write its number into the file `number` of the worktree.
set -eu

content=$(sed -n 's/.*"content_path": *"\([^"]*\)".*/\1/p' "$EDEN_TASK_JSON")
cat "$content" >number
git add number
git -c user.name=beside -c user.email=beside@example.com commit --quiet --message "Try $(cat number)"
printf '{"status": "success", "commit_sha": "%s"}\n' "$(git rev-parse HEAD)" >"$EDEN_OUTPUT"
