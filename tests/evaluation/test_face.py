"""The public face of the package: what users and plugin authors import."""

from __future__ import annotations

import subprocess
import sys

from omnitrace import evaluation


def test_every_name_is_there_and_listed() -> None:
    assert sorted(evaluation.__all__) == dir(evaluation)
    assert len(set(evaluation.__all__)) == len(evaluation.__all__)
    for name in evaluation.__all__:
        assert getattr(evaluation, name) is not None, name


def test_labels_and_saved_results_wait_for_no_model() -> None:
    code = (
        "import sys; from omnitrace.evaluation import Label, read_labels, EvaluationOptions\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
