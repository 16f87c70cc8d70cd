"""The network of users' code in template.yaml: one way leads out, to the packages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

TEMPLATE = Path(__file__).parents[3] / "template.yaml"


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="rt").load(TEMPLATE.read_text("utf-8"))["Resources"]
    return found


def of_type(resources: dict[str, Any], kind: str) -> list[Any]:
    return [one for one in resources.values() if one["Type"] == f"AWS::EC2::{kind}"]


def text(tagged: Any) -> str:
    """Returns what a short form such as `!Ref` is about."""
    return str(getattr(tagged, "value", tagged))


def test_there_is_one_endpoint_and_no_other_way(resources: dict[str, Any]) -> None:
    kinds = {one["Type"] for one in resources.values() if one["Type"].startswith("AWS::EC2::")}
    assert kinds == {
        "AWS::EC2::VPC", "AWS::EC2::Subnet", "AWS::EC2::RouteTable", "AWS::EC2::SecurityGroup",
        "AWS::EC2::SubnetRouteTableAssociation", "AWS::EC2::VPCEndpoint",
    }  # fmt: skip
    [network] = of_type(resources, "VPC")
    assert network["Properties"]["EnableDnsSupport"] is False
    [endpoint] = of_type(resources, "VPCEndpoint")
    said = endpoint["Properties"]
    assert said["VpcEndpointType"] == "Gateway"
    assert text(said["ServiceName"]) == "com.amazonaws.${AWS::Region}.s3"
    [statement] = said["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Action"]) == ("Allow", "s3:GetObject")
    assert text(statement["Resource"]) == "${Bucket.Arn}/packages/*"
    associated = [one["Properties"] for one in of_type(resources, "SubnetRouteTableAssociation")]
    assert {text(one["RouteTableId"]) for one in associated} == {"CodeRoutes"}
    assert {text(one["SubnetId"]) for one in associated} == {"CodeSubnetA", "CodeSubnetB"}


def test_nobody_comes_in_and_only_https_goes_out(resources: dict[str, Any]) -> None:
    [group] = of_type(resources, "SecurityGroup")
    assert "SecurityGroupIngress" not in group["Properties"]
    [rule] = group["Properties"]["SecurityGroupEgress"]
    assert (rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) == ("tcp", 443, 443)


def test_the_role_of_code_reads_no_package_by_itself(resources: dict[str, Any]) -> None:
    policies = resources["RunCodeRole"]["Properties"]["Policies"]
    assert "s3:" not in str(policies)
    everything = [one for one in resources.values() if one["Type"].startswith("AWS::EC2::")]
    assert all(one["Condition"] == "OnAws" for one in everything)
