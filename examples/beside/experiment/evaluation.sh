# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
# Score the number of a variant: 0 for 42, and less for all others.
set -eu

number=$(cat number)
difference=$((number - 42))
printf '{"status": "success", "evaluation": {"score": %d, "number": %d}}\n' \
    "$((-difference * difference))" "$number" >"$EDEN_OUTPUT"
