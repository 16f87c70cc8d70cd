"""What template.yaml lets pages of other origins do."""

from __future__ import annotations

from pathlib import Path

from ruamel.yaml import YAML

TEMPLATE = Path(__file__).parents[3] / "template.yaml"


def test_preflights_have_a_route_without_an_authorizer() -> None:
    # The default route takes OPTIONS too, and asks for a token. The emulator answers
    # preflights before it looks at routes, so nothing else would miss this one.
    resources = YAML(typ="rt").load(TEMPLATE.read_text("utf-8"))["Resources"]
    keys = {
        one["Properties"]["RouteKey"]: one
        for one in resources.values()
        if one["Type"] == "AWS::ApiGatewayV2::Route"
    }
    route = keys["OPTIONS /{proxy+}"]
    assert route["Condition"] == "WithOrigins"
    assert not {"AuthorizationType", "AuthorizerId"} & set(route["Properties"])
    assert route["Properties"]["Target"].value == "integrations/${HttpApiIntegration}"


def test_no_page_may_use_cookies() -> None:
    resources = YAML(typ="rt").load(TEMPLATE.read_text("utf-8"))["Resources"]
    condition, allowed, nothing = resources["HttpApi"]["Properties"]["CorsConfiguration"]
    assert (condition, nothing.value) == ("WithOrigins", "AWS::NoValue")
    assert "AllowCredentials" not in allowed
