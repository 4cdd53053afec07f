"""The roles a person may have. What each allows stands in the policy, which the custodian holds; names only here."""

from typing import Final

AGENT: Final = "agent"
MANAGER: Final = "manager"
COMPLIANCE_OFFICER: Final = "compliance_officer"
DPO: Final = "dpo"
AUDITOR: Final = "auditor"
ADMINISTRATOR: Final = "administrator"

ROLES: Final = (AGENT, MANAGER, COMPLIANCE_OFFICER, DPO, AUDITOR, ADMINISTRATOR)

REASON_CLASSES: Final = {
    "complaint": "A complaint",
    "quality": "Quality review",
    "training": "Training",
    "dispute": "A dispute, or a claim in law",
    "subject_request": "A request by the person recorded",
    "fraud": "Suspected fraud",
    "safeguarding": "Safeguarding somebody",
    "technical": "A technical fault",
}
"""Why a recording is opened: the class stands in the log in clear; the words beside it are sealed."""

CASE_CLASSES: Final = ("dispute", "subject_request")
"""Reason classes that ask for the reference of a case."""

EXPORT_ENDS: Final = {
    "holder-wrote": "Its holder has written that it is deleted",
    "seen-deleted": "I have seen that it is deleted",
    "medium-destroyed": "The medium it was on has been destroyed",
}
"""How it is known that an exported file is gone; stands in the log in clear, for it outlives the recording."""
