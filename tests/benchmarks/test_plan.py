import plan


def test_defaults_depend_on_quick() -> None:
    full, quick = plan.parse([]), plan.parse(["--quick"])
    assert full.lengths == [400, 1500, 3000]
    assert full.models == ["SmolLM2", "reference"]
    assert quick.lengths == [400]
    assert quick.models == ["reference"]
    assert "untraced" in quick.modes
