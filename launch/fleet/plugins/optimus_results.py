"""Ansible's results as JSON lines in the file $OPTIMUS_FLEET_RESULTS; nothing on the console."""

import json
import os
from typing import Any

from ansible.plugins.callback import CallbackBase

_LONGEST = 2**25  # characters of an answer; of a longer one the rest is dropped, so it is no JSON

DOCUMENTATION = """
name: optimus_results
type: stdout
short_description: results of launch/fleet/call.yaml as JSON lines
description: One line per host that answered, failed or was not reached.
"""


class CallbackModule(CallbackBase):
    """Called by Ansible; see `launch.fleet.ansible`."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "optimus_results"

    def _write(self, result: Any, state: str, text: str) -> None:
        record = {"host": result._host.get_name(), "state": state, "text": text[:_LONGEST]}
        record["task"] = result._task.get_name()
        with open(os.environ["OPTIMUS_FLEET_RESULTS"], "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def v2_runner_on_ok(self, result: Any) -> None:
        """A task did its work; only the last but one says something."""
        if result._task.get_name() == "answer":
            self._write(result, "ok", str(result._result.get("stdout", "")))

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """A task failed there."""
        found = result._result
        text = found.get("stderr") or found.get("module_stderr") or found.get("msg", "")
        self._write(result, "failed", str(text))

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """No way to the host."""
        self._write(result, "unreachable", str(result._result.get("msg", "")))
