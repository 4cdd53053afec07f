"""Devices that may speak for the business: enrolled and revoked by a person's proof, on the record.

docs/spec/private-call.md section 4; the proof is that of docs/spec/open-call.md, actions `enrol_device` and `revoke_device`.
Invariant: a device counts only from its log entry on; no customer believes it before the root key has signed a manifest that
lists it.
"""

from datetime import datetime
from typing import Any

from callseal.custodian.custody import Custody
from callseal.custodian.device_book import keep_device, live_devices, revoked_devices
from callseal.custodian.request import check_policy, deny, prove
from callseal.errors import NotFound


def enrol_device(custody: Custody, message: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Enrol the device of a proved request. Raises Denied."""
    custody.check()
    proved = prove(custody, message, ("enrol_device",), now)
    check_policy(custody, proved, now)
    request = proved.request
    digest = keep_device(custody, request["key"], request["role"])
    fields = proved.fields() | {"policy": custody.policy.digest, "device": digest, "not_after": request["not_after"]}
    index = custody.record("DeviceEnrolled", now, who=proved.who, **fields)
    device = {"key": request["key"], "role": request["role"], "not_after": request["not_after"]}
    return {"device": device, "log_index": index}


def revoke_device(custody: Custody, message: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Revoke the device of a proved request. Raises Denied, NotFound where it is revoked already."""
    custody.check()
    proved = prove(custody, message, ("revoke_device",), now)
    check_policy(custody, proved, now)
    digest = proved.request["device"]
    entry = custody.history.devices[digest]
    if entry.get("revoked"):
        deny(custody, "not-possible", now, proved.request, proved)
        raise NotFound("device: expected one that is not revoked yet")
    fields = proved.fields() | {"policy": custody.policy.digest, "by": proved.who, "device": digest}
    return {"log_index": custody.record("DeviceRevoked", now, who=entry["who"], **fields)}


def list_devices(custody: Custody, now: datetime) -> dict[str, Any]:
    """What a manifest may list, and what it must name as revoked."""
    return {"devices": live_devices(custody, now), "revoked": revoked_devices(custody, now)}
