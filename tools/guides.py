"""Writes docs/guides: one page for each type of phone system, from the same data that `callseal peer` uses.

`python -m tools.guides` writes them; tests/docs compare what is committed with what this would write.
"""

from pathlib import Path

from callseal.cli.peer_text import Place, render_configuration, render_firewall
from callseal.config.vendors import SECRET, Vendor, list_vendors, load_vendor
from callseal.sip.oddities import ODDITIES

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "guides"
EXAMPLE_SECRET = "0123456789abcdef0123456789abcdef"  # noqa: S105 - an example, in every guide
ADDRESS = "192.0.2.10"
WORDS = {
    "certificate": "no certificate, or one that is not known",
    "secret": "the secret is not in the Request-URI",
    "srtp": "488: it offers the call in the clear",
    "suite": "488: it offers only suites that are refused",
    "streams": "one stream, or twice the streams",
    "labels": "labels",
    "metadata": "who is customer and who is staff is not told",
    "rtp": "200 OK, and no voice comes",
    "codec": "a codec that is not inspected",
    "bye": "the call does not end here when it has ended there",
}


def write_guide(vendor: Vendor) -> str:
    """One page."""
    cloud = vendor.proof == SECRET
    place = Place("london-sbc", ADDRESS, 5061, 20000, 20999, "TLS-FOLDER", EXAMPLE_SECRET if cloud else "")
    source = ["198.51.100.0/24"] if cloud else ["198.51.100.7"]
    terms = [f"- {oddity.terms[vendor.kind]}" for oddity in ODDITIES.values() if vendor.kind in oddity.terms]
    lines = [
        f"# {vendor.title}",
        "",
        f"> {vendor.confirmed}",
        "",
        "## 1. Make it known",
        "",
        "```text",
        f"callseal peer add london-sbc --type {vendor.kind} --host {ADDRESS}{f' --from {source[0]}' if cloud else ''}",
        "```",
        "",
        *_proof(cloud),
        "",
        "## 2. Set it there",
        "",
        f"What `peer add` prints, here with example names and addresses{', and an example of the secret' if cloud else ''}:",
        "",
        "```text",
        *render_configuration(vendor, place).rstrip("\n").split("\n"),
        "```",
        "",
        "## 3. Let it through",
        "",
        "```text",
        *render_firewall(place, source).rstrip("\n").split("\n"),
        "```",
        "",
        "## 4. Place one call, and let it be judged",
        "",
        "```text",
        "callseal peer check london-sbc",
        "```",
        "",
        "It waits for one call and says what is right and what is wrong with it, and which setting cures it:",
        "",
        "| what is wrong | set |",
        "|---|---|",
        *(f"| {words} | {_cell(vendor.cure(fault))} |" for fault, words in WORDS.items() if _concerns(fault, cloud)),
        "",
        "## What will be seen",
        "",
        *(f"- {seen}" for seen in vendor.seen),
        *terms,
        "",
        f"The test phone sends a call of this shape, with SRTP: `callseal call --like {vendor.kind}`. What is odd about a phone",
        "system, and taken all the same, is counted on the console's page *Odd*; the whole table is",
        "[what phone systems send](../spec/phone-systems.md).",
    ]
    return "\n".join(lines) + "\n"


def _concerns(fault: str, cloud: bool) -> bool:
    return fault != "labels" and (cloud or fault != "secret")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _proof(cloud: bool) -> list[str]:
    if cloud:
        return [
            "It shows no client certificate. Who it is follows from two things together: its address is one of `--from`, and the",
            "Request-URI holds a 128-bit secret that `peer add` prints once. Neither alone is enough.",
            "`callseal peer renew london-sbc` makes the next secret; the old one counts for seven more days.",
        ]
    return [
        "This makes a client certificate. With `--csr FILE` its key never leaves the phone system; with `--certificate FILE` or",
        "`--fingerprint` it keeps one that it has; with `--authority FILE --certificate-name HOST` any certificate of that name",
        "from its own authority counts. `callseal peer renew london-sbc` makes the next one; both count until `--finish`.",
    ]


def write_index() -> str:
    """The list of guides."""
    lines = [
        "# Connect a phone system",
        "",
        "One page for each type: what to set, what will be seen, how to check. They are written by `python -m tools.guides` from",
        "the data that `callseal peer` itself uses.",
        "",
        "| type | phone system | shows who it is by |",
        "|---|---|---|",
    ]
    for kind in list_vendors():
        vendor = load_vendor(kind)
        proof = "address and secret" if vendor.proof == SECRET else "client certificate"
        lines.append(f"| `{kind}` | [{vendor.title}]({kind}.md) | {proof} |")
    return "\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    """Every page by its file name."""
    return {f"{kind}.md": write_guide(load_vendor(kind)) for kind in list_vendors()} | {"README.md": write_index()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
