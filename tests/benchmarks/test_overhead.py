import pytest

import overhead


def test_defaults_depend_on_quick() -> None:
    full, quick = overhead.parse([]), overhead.parse(["--quick"])
    assert full.lengths == [800, 4000]
    assert full.alternations >= 20
    assert full.new_tokens == 64
    assert full.threads == quick.threads == 1
    assert quick.lengths == [800]
    assert quick.alternations < full.alternations
    given = overhead.parse(["--quick", "--alternations", "9", "--eager", "0"])
    assert (given.alternations, given.eager) == (9, 0)


def test_bad_argument_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        overhead.parse(["--lengths", "long"])
    assert "--lengths" in capsys.readouterr().err
