"""Packages the functions and deploys template.yaml to the emulator."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import shlex
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from joinery.llm.prices import prices_from
from joinery_cli.local.errors import LocalStackFailed
from joinery_cli.local.state import save
from joinery_cli.packaging import FUNCTIONS, Bundle, Target, build

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from joinery_cli.local.state import LocalStack

STACK: Final = "joinery"
STAGE: Final = "local"

_CODE_BUCKET: Final = "joinery-code"
_TIMEOUT_S: Final = 120
_POLL_S: Final = 0.1
_CAPABILITIES: Final = ("CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND")
_NO_CHANGES: Final = "No updates are to be performed"


@dataclass(frozen=True, slots=True)
class Release:
    """What is to be deployed.

    Attributes:
        template: Text of template.yaml.
        bundles: The functions by logical id.
        parameters: Values of the template's parameters, secrets among them.
    """

    template: str
    bundles: Mapping[str, Bundle]
    parameters: Mapping[str, str] = field(repr=False)

    @property
    def digest(self) -> str:
        """Hash of everything in it: the same when nothing has to be deployed."""
        parts = [
            self.template,
            sorted((name, bundle.digest) for name, bundle in self.bundles.items()),
            sorted(self.parameters.items()),
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


_FROM_ENVIRONMENT: Final = {
    "ModelBaseUrls": "JOINERY_MODEL_BASE_URLS",
    "ModelPrices": "JOINERY_PRICES",
    "ModelKeysSecret": "JOINERY_MODEL_KEYS_SECRET",
    "ModelKeysPath": "JOINERY_MODEL_KEYS_PATH",
    "BedrockModels": "JOINERY_BEDROCK_MODELS",
    "ModelLimits": "JOINERY_MODEL_LIMITS",
    "ModelBreakerFailures": "JOINERY_BREAKER_FAILURES",
    "OtlpEndpoint": "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OtlpHeaders": "OTEL_EXPORTER_OTLP_HEADERS",
}
"""Parameters that the laptop's stack takes from the environment, where it has them."""


def package(project: Path, progress: Callable[[str, str], None]) -> dict[str, Bundle]:
    """Builds all functions for this machine, side by side; returns them by logical id."""
    target = Target.for_this_machine()

    def one(function: str) -> Bundle:
        bundle = build(project, function, target)
        progress("package", f"{function} {bundle.size / 1_048_576:.1f} MB")
        return bundle

    with ThreadPoolExecutor(max_workers=4) as pool:
        return dict(zip(FUNCTIONS, pool.map(one, FUNCTIONS.values()), strict=True))


def prepare(
    project: Path,
    stack: LocalStack,
    bundles: Mapping[str, Bundle],
    model_api_key: str,
    *,
    allow_local_code: bool = False,
) -> Release:
    """Puts together what `deploy` deploys: the template, the bundles, this stack's parameters.

    Raises:
        PermanentPricesInvalid: The environment has prices that are none.
    """
    prices_from(os.environ)
    processor = "arm64" if platform.machine().lower() in ("arm64", "aarch64") else "x86_64"
    parameters = {
        "Stage": STAGE,
        "FunctionRuntime": "provided.al2023",
        "Architecture": processor,
        "LocalAddress": stack.address,
        "CodeIsolation": "allowed" if allow_local_code else "sandbox",
        "ModelBaseUrl": stack.model_base_url,
        "ModelName": stack.model_name,
        "ModelApiKey": model_api_key,
        "AllowedOrigins": "*",  # a page under development calls it from a server of its own
        "BedrockModels": "arn:aws:bedrock:*",  # the emulator's own, which cost nothing
        **{
            parameter: os.environ[variable]
            for parameter, variable in _FROM_ENVIRONMENT.items()
            if os.environ.get(variable)
        },
    }
    release = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()
    return Release(
        template=(project / "template.yaml").read_text(),
        bundles=bundles,
        parameters={**parameters, "Release": release},
    )


def deploy(stack: LocalStack, release: Release) -> LocalStack:
    """Creates or updates the CloudFormation stack; returns the local stack with its outputs.

    Args:
        stack: Where to deploy.
        release: What to deploy.

    Raises:
        LocalStackFailed: A resource failed; the message says which and why.
    """
    from botocore.exceptions import ClientError

    cloudformation = stack.client("cloudformation")
    request = {
        "StackName": STACK,
        "TemplateBody": _with_code(release.template, _upload(stack, release.bundles)),
        "Capabilities": list(_CAPABILITIES),
        "Parameters": [
            {"ParameterKey": key, "ParameterValue": value}
            for key, value in release.parameters.items()
        ],
    }
    try:
        if stack.deployed:
            cloudformation.update_stack(**request)
        else:
            cloudformation.create_stack(**request)
    except ClientError as error:
        if _NO_CHANGES not in str(error):
            raise LocalStackFailed(f"template.yaml was refused: {error}") from error
    outputs = _wait(cloudformation)
    if stack.deployed:
        _forget_old_versions(stack.client("lambda"), outputs["RunNodeArn"].rpartition(":")[0])
    return save(replace(stack, outputs=outputs, deployed=release.digest))


def _forget_old_versions(client: Any, function: str) -> None:
    """Deletes all versions but the last two: each keeps its worker processes as long as it lives.

    The one before the last may still be at work.
    """
    versions = [
        int(version["Version"])
        for page in client.get_paginator("list_versions_by_function").paginate(
            FunctionName=function
        )
        for version in page["Versions"]
        if version["Version"].isdecimal()
    ]
    for version in sorted(versions)[:-2]:
        client.delete_function(FunctionName=function, Qualifier=str(version))


def _upload(stack: LocalStack, bundles: Mapping[str, Bundle]) -> dict[str, dict[str, str]]:
    s3 = stack.client("s3")
    s3.create_bucket(Bucket=_CODE_BUCKET)
    places = {}
    for name, bundle in bundles.items():
        key = f"{bundle.function}-{bundle.digest}.zip"
        s3.put_object(Bucket=_CODE_BUCKET, Key=key, Body=_pointer(bundle))
        places[name] = {"Bucket": _CODE_BUCKET, "Key": key}
    return places


def _pointer(bundle: Bundle) -> bytes:
    """Returns a zip whose bootstrap leads to the bundle: no upload, no unpacking, bytecode kept."""
    entry = zipfile.ZipInfo("bootstrap", date_time=(1980, 1, 1, 0, 0, 0))
    entry.external_attr = 0o755 << 16
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(entry, f"#!/bin/sh\nexec {shlex.quote(str(bundle.path / 'bootstrap'))}\n")
    return packed.getvalue()


def _with_code(template: str, places: Mapping[str, Mapping[str, str]]) -> str:
    from ruamel.yaml import YAML

    yaml = YAML(typ="rt")  # keeps CloudFormation's own tags, such as !Sub
    yaml.width = 1_000
    document = yaml.load(template)
    for name, place in places.items():
        document["Resources"][name]["Properties"]["CodeUri"] = dict(place)
    text = io.StringIO()
    yaml.dump(document, text)
    return text.getvalue()


def _wait(cloudformation: Any) -> dict[str, str]:
    deadline = time.monotonic() + _TIMEOUT_S
    while True:
        described = cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]
        status = described["StackStatus"]
        if status in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            return {each["OutputKey"]: each["OutputValue"] for each in described["Outputs"]}
        if not status.endswith("_IN_PROGRESS") or time.monotonic() > deadline:
            raise LocalStackFailed(f"the deployment ended in {status}: {_reasons(cloudformation)}")
        time.sleep(_POLL_S)


def _reasons(cloudformation: Any) -> str:
    events = cloudformation.describe_stack_events(StackName=STACK)["StackEvents"]
    failed = [
        f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', 'no reason given')}"
        for event in events
        if event["ResourceStatus"].endswith("_FAILED")
    ]
    return "; ".join(dict.fromkeys(failed)) or "no resource gave a reason"
