"""What the server says of itself."""

from __future__ import annotations

from starlette.testclient import TestClient


def test_the_server_says_what_can_be_asked_of_it(client: TestClient) -> None:
    about = client.get("/api/about").json()
    assert about["model"] == "reference"
    assert sorted(about["modalities"]) == ["audio", "image", "text", "video"]
    streams = {signal["name"]: signal["streams"] for signal in about["signals"]}
    assert streams["attention-mean"] is True
    assert streams["verified"] is False
    assert about["default_signal"] == "attention-mean"
    assert about["verifies"] is False
    assert {unitizer["name"] for unitizer in about["unitizers"]["image"]} >= {"grid", "whole"}
    assert about["unitizers"]["text"][0]["name"] == "sentence"
    assert about["selection"]["coverage"] == 0.85
    assert about["limits"]["requests_per_client"] == 8
    assert "markdown" in {each["name"] for each in about["exports"]}
