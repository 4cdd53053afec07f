"""docs/spec/vectors/private-call.json in a real Chromium: the page's own modules give the same bytes and refuse for the same reasons."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import segno
from playwright.sync_api import Browser, Page

from tests.browser.conftest import CHROMIUM
from tests.browser.private_modules import serving_modules

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="Debian's chromium is not installed"),
]

VECTORS = json.loads((Path(__file__).parents[2] / "docs/spec/vectors/private-call.json").read_text())

# The system's generator stands still, so that what is drawn is what the vectors drew; nothing in the page takes randomness.
SAME_DRAW = """
async ({ call, kid, now }) => {
  const B = await import("./bytes.js");
  const K = await import("./kdf.js");
  crypto.getRandomValues = (array) => (array.set(B.fromHex(call.nonce)), array);
  const seeded = await crypto.subtle.importKey("raw-seed", B.fromHex(call.kem_seed), K.KEM, true, ["decapsulateBits"]);
  const { pub } = await crypto.subtle.exportKey("jwk", seeded);
  const publicKey = await crypto.subtle.importKey("raw-public", B.fromBase64url(pub), K.KEM, true, ["encapsulateBits"]);
  crypto.subtle.generateKey = async () => ({ privateKey: seeded, publicKey });
  const { Customer } = await import("./handshake.js");
  globalThis.newCustomer = () => new Customer({ kid: B.fromBase64url(kid), psk: call.psk ? B.fromBase64url(call.psk) : null, call: call.call });
  globalThis.now = Date.parse(now);
}
"""


@pytest.fixture(scope="module")
def served(chromium: Browser) -> Iterator[Page]:
    with serving_modules() as origin:
        page = chromium.new_context().new_page()
        page.goto(f"{origin}/able.js")
        yield page
        page.context.close()


@pytest.fixture
def modules(served: Page) -> Page:
    """A blank page that can import the modules."""
    served.reload()
    return served


def draw(page: Page, call: dict[str, Any]) -> None:
    page.evaluate(SAME_DRAW, {"call": call, "kid": VECTORS["kid"], "now": VECTORS["now"]})


@pytest.mark.parametrize("number", range(len(VECTORS["calls"])))
def test_a_whole_handshake_gives_the_published_bytes(modules: Page, number: int, record_property: Any) -> None:
    call = VECTORS["calls"][number]
    draw(modules, call)
    found = modules.evaluate(
        """async ({ call, kid }) => {
            const B = await import("./bytes.js"); const K = await import("./kdf.js"); const H = await import("./handshake.js");
            const customer = newCustomer();
            const m1 = await customer.begin(call.offer, call.customer_fp);
            const verified = await customer.verify(call.m2, call.answer, now, 0);
            const d = call.derived;
            const prk = await K.extract(call.psk ? B.fromBase64url(call.psk) : new Uint8Array(32), B.fromHex(d.ss));
            const keys = await H.deriveKeys(prk, B.fromBase64url(kid), B.fromHex(d.h_m1), B.fromHex(d.h_m2), B.fromHex(call.nonce));
            const k_a = await H.agentKey(prk, B.fromBase64url(kid), B.fromHex(d.h_m1), B.fromHex(d.h_body));
            const derived = {
              prk: B.toHex(prk), k_a: B.toHex(k_a), th: B.toHex(keys.th), k: B.toHex(keys.key), sas: keys.sas,
              later_c: B.toHex(keys.toAgent), later_a: B.toHex(keys.toCustomer), mac_c: B.toHex(await K.hmac(keys.customer, keys.th)),
            };
            return { m1, m3: verified.m3, sas: verified.sas, role: verified.device.role, fp: verified.fp, derived };
        }""",
        {"call": call, "kid": VECTORS["kid"]},
    )
    assert found["m1"] == call["m1"]
    assert found["m3"] == call["m3"]
    assert (found["sas"], found["role"], found["fp"]) == (call["derived"]["sas"], call["role"], call["agent_fp"])
    for name, value in found["derived"].items():
        assert value == call["derived"][name], name


def test_every_published_fault_of_m2_is_refused_for_its_reason(modules: Page) -> None:
    draw(modules, VECTORS["calls"][0])
    found = modules.evaluate(
        """async ({ call, faults }) => {
            const said = {};
            for (const { name, m2, answer, seen } of faults) {
              const customer = newCustomer();
              await customer.begin(call.offer, call.customer_fp);
              said[name] = await customer.verify(m2, answer, now, seen ?? 0).then(() => "accepted", (error) => error.reason ?? String(error));
            }
            return said;
        }""",
        {"call": VECTORS["calls"][0], "faults": VECTORS["refused_m2"]},
    )
    assert found == {fault["name"]: fault["reason"] for fault in VECTORS["refused_m2"]}


def test_every_published_fault_of_m1_is_refused_for_its_reason(modules: Page) -> None:
    found = modules.evaluate(
        """async ({ call, faults }) => {
            const { Agent } = await import("./handshake.js"); const B = await import("./bytes.js");
            const said = {};
            const make = () => new Agent({ psk: call.psk ? B.fromBase64url(call.psk) : null, call: call.call });
            said["the control"] = await make().receive(call.m1, call.offer).then((fp) => fp, (error) => error.reason);
            for (const { name, m1, offer } of faults)
              said[name] = await make().receive(m1, offer).then(() => "accepted", (error) => error.reason ?? String(error));
            return said;
        }""",
        {"call": VECTORS["calls"][0], "faults": VECTORS["refused_m1"]},
    )
    assert found.pop("the control") == VECTORS["calls"][0]["customer_fp"]
    assert found == {fault["name"]: fault["reason"] for fault in VECTORS["refused_m1"]}


def test_later_messages_are_taken_in_their_order_and_every_published_fault_ends_the_call(modules: Page) -> None:
    found = modules.evaluate(
        """async ({ call, later }) => {
            const B = await import("./bytes.js"); const { Later } = await import("./later.js"); const { POLICY } = await import("./handshake.js");
            const d = call.derived;
            const [toAgent, toCustomer] = [B.fromHex(d.later_c), B.fromHex(d.later_a)];
            const sides = () => ({
              agent: new Later({ call: call.call, policy: { ...POLICY }, own: call.agent_fp, peer: call.customer_fp, out: toCustomer, into: toAgent }),
              customer: new Later({ call: call.call, policy: { ...POLICY }, own: call.customer_fp, peer: call.agent_fp, out: toAgent, into: toCustomer }),
            });
            const other = { agent: "customer", customer: "agent" };
            const line = sides();
            const spoken = [];
            for (const item of later.line) {
              const { kind, re } = JSON.parse(item.message);
              const made = await line[item.from].make(kind, item.sdp, re);
              const opened = await line[other[item.from]].open(item).catch((error) => ({ kind: error.reason }));
              spoken.push([opened.kind, made.message === item.message && made.mac === item.mac]);
            }
            const said = {};
            for (const fault of later.faults)
              said[fault.name] = await sides()[fault.to].open(fault).then(() => "accepted", (error) => error.reason ?? String(error));
            return { spoken, said };
        }""",
        {"call": VECTORS["calls"][0], "later": VECTORS["later"]},
    )
    kinds = [json.loads(item["message"])["kind"] for item in VECTORS["later"]["line"]]
    assert found["spoken"] == [[kind, True] for kind in kinds]
    assert found["said"] == {fault["name"]: fault["reason"] for fault in VECTORS["later"]["faults"]}


def test_links_are_read_as_published_and_damaged_ones_are_said_to_be(modules: Page) -> None:
    found = modules.evaluate(
        """async ({ whole, damaged }) => {
            const { parseFragment } = await import("./link.js");
            const read = (text) => { try { return parseFragment(text.replace(/^#/, ""))?.call ?? "none"; } catch (error) { return error.reason; } };
            return { whole: whole.map(read), damaged: damaged.map(read) };
        }""",
        {"whole": [link["fragment"] for link in VECTORS["links"]], "damaged": [d for d in VECTORS["damaged_links"] if d.strip("#")]},
    )
    assert "link-damaged" not in found["whole"]
    assert set(found["damaged"]) == {"link-damaged"}


def test_both_sides_of_this_implementation_agree(modules: Page) -> None:
    call = VECTORS["calls"][1]
    body = json.loads(call["m2"])["body"]
    found = modules.evaluate(
        """async ({ call, kid, body, deviceSeed }) => {
            const B = await import("./bytes.js"); const { Agent, Customer } = await import("./handshake.js");
            const pkcs8 = B.concat(B.fromHex("302e020100300506032b657004220420"), B.fromHex(deviceSeed));
            const sign = await crypto.subtle.importKey("pkcs8", pkcs8, "Ed25519", false, ["sign"]);
            const psk = call.psk ? B.fromBase64url(call.psk) : null;
            const customer = new Customer({ kid: B.fromBase64url(kid), psk, call: call.call });
            const agent = new Agent({ kid: B.fromBase64url(kid), psk, call: call.call, device: body.device, sign, manifest: body.manifest, proof: body.proof });
            const m1 = await customer.begin(call.offer, call.customer_fp);
            await agent.receive(m1, call.offer);
            const m2 = await agent.reply(call.answer, call.agent_fp);
            const seen = await customer.verify(m2, call.answer, Date.parse(body.now), 0);
            const finished = await agent.finish(seen.m3);
            const again = await agent.finish(seen.m3).catch((error) => error.reason);
            const hold = await seen.later.make("hold");
            return { sas: [seen.sas, finished.sas], kind: (await finished.later.open(hold)).kind, again };
        }""",
        {"call": call, "kid": VECTORS["kid"], "body": {**body, "now": VECTORS["now"]}, "deviceSeed": VECTORS["device_seed"]},
    )
    assert found["sas"][0] == found["sas"][1]
    assert (found["kind"], found["again"]) == ("hold", "replayed")


def test_x_wing_in_the_browser_is_x_wing(modules: Page) -> None:
    public = modules.evaluate(
        """async (seed) => {
            const B = await import("./bytes.js"); const K = await import("./kdf.js");
            const key = await crypto.subtle.importKey("raw-seed", B.fromHex(seed), K.KEM, true, ["decapsulateBits"]);
            return B.toHex(B.fromBase64url((await crypto.subtle.exportKey("jwk", key)).pub));
        }""",
        VECTORS["xwing"]["seed"],
    )
    assert public == VECTORS["xwing"]["public"]


def words_of(rows: list[str], mask: int, reserved: list[str]) -> list[int]:
    """A second reader of QR codes: the codewords in the order in which they were laid (ISO/IEC 18004 section 7.7.3)."""
    rules = [
        lambda y, x: (y + x) % 2 == 0, lambda y, x: y % 2 == 0, lambda y, x: x % 3 == 0, lambda y, x: (y + x) % 3 == 0,
        lambda y, x: (y // 2 + x // 3) % 2 == 0, lambda y, x: y * x % 2 + y * x % 3 == 0,
        lambda y, x: (y * x % 2 + y * x % 3) % 2 == 0, lambda y, x: ((y + x) % 2 + y * x % 3) % 2 == 0,
    ]  # fmt: skip
    side, bits, up, right = len(rows), [], True, len(rows) - 1
    while right > 0:
        right -= right == 6
        for step in range(side):
            y = side - 1 - step if up else step
            bits += [int(rows[y][x]) ^ rules[mask](y, x) for x in (right, right - 1) if reserved[y][x] == "0"]
        up, right = not up, right - 2
    return [int("".join(map(str, map(int, bits[at : at + 8]))), 2) for at in range(0, len(bits) - 7, 8)]


def test_a_qr_code_drawn_by_the_page_is_the_code_of_the_link(modules: Page) -> None:
    """Against segno: its patterns, format and Reed-Solomon words, bit for bit, where a text fills its version.

    (Elsewhere segno pads with one byte of nothing before the standard's own padding, so the words differ, readable both.)
    """
    generator = random.Random(18004)
    full = {1: 14, 2: 26, 5: 84, 6: 106, 7: 122, 9: 180, 10: 213, 11: 251}
    texts = ["".join(chr(generator.randint(33, 126)) for _ in range(length)) for length in full.values()]
    drawn = modules.evaluate(
        """async (texts) => {
            const { squares } = await import("./qr.js");
            return texts.map((text) => squares(text).map((row) => row.map((dark) => (dark ? "1" : "0")).join("")));
        }""",
        texts,
    )
    for text, rows, version in zip(texts, drawn, full, strict=True):
        codes = [segno.make(text, error="m", mode="byte", micro=False, boost_error=False, mask=mask) for mask in range(8)]
        matrices = [["".join(str(int(bit)) for bit in row) for row in code.matrix] for code in codes]
        assert codes[0].version == version and rows in matrices, f"version {version}"


def test_a_qr_code_of_a_short_text_is_padded_as_the_standard_says(modules: Page) -> None:
    rows = modules.evaluate(
        """async () => (await import("./qr.js")).squares("A").map((row) => row.map((dark) => (dark ? "1" : "0")).join(""))"""
    )
    reserved = ["".join("1" if (y < 9 and (x < 9 or x > 12)) or (y > 12 and x < 9) or 6 in (y, x) else "0" for x in range(21)) for y in range(21)]
    readings = [words_of(rows, mask, reserved)[:16] for mask in range(8)]
    assert [64, 20, 16, *[236, 17] * 6, 236] in readings
