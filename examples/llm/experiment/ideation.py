# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask a language model for a short sentence with all letters, given the best ones so far.

The variables of its Secret: LLM_URL, the root of an OpenAI-compatible API such as https://llm.example.com/v1,
LLM_MODEL, and LLM_API_KEY.
"""

import json
import os
import sys
import urllib.error
import urllib.request

QUESTION = (
    "Write one English sentence that contains each letter from a to z, and is as short as possible. "
    "Answer with the sentence only."
)
SECONDS = 120


def say(**message: object) -> None:
    """Send one line to the host."""
    print(json.dumps(message), flush=True)


def prompt(history: list[dict]) -> str:
    """The question, with the five best sentences."""
    evaluated = [entry["evaluation"] for entry in history if entry["status"] == "success"]
    best = sorted(evaluated, key=lambda evaluation: -evaluation["score"])[:5]
    lines = [f"{evaluation['score']}: {evaluation['sentence']}" for evaluation in best]
    return "\n".join([QUESTION, *(["Better than these, whose score comes first:", *lines] if lines else [])])


def ask(question: str) -> str:
    """The model's answer."""
    body = {"model": os.environ["LLM_MODEL"], "messages": [{"role": "user", "content": question}]}
    request = urllib.request.Request(
        os.environ["LLM_URL"].rstrip("/") + "/chat/completions",
        data=json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {os.environ.get('LLM_API_KEY', '')}",
            "Content-Type": "application/json",
        },
    )
    with urllib.request.urlopen(request, timeout=SECONDS) as response:
        sentence = json.load(response)["choices"][0]["message"]["content"]
    if not isinstance(sentence, str) or not sentence.strip():
        raise ValueError("the answer is empty")
    return sentence.strip()


def answer(question: dict) -> None:
    """Answer one question of the host. A model that fails costs this task only."""
    task = question["task_id"]
    try:
        sentence = ask(prompt(question["history"]))
    except (OSError, ValueError, LookupError, TypeError) as error:
        reason = f"{os.environ.get('LLM_URL')}: {error!r}"
        print(reason, file=sys.stderr, flush=True)
        say(event="ideation-error", task_id=task, reason=reason)
        return
    say(
        event="idea",
        task_id=task,
        slug="sentence",
        priority=1.0,
        parent_commits=[os.environ["EDEN_BASE_COMMIT_SHA"]],
        content=sentence,
    )
    say(event="ideation-done", task_id=task)


def main() -> None:
    """Answer each question of the host."""
    say(event="ready")
    for line in sys.stdin:
        question = json.loads(line)
        if question.get("event") == "ideation":
            answer(question)


if __name__ == "__main__":
    main()
