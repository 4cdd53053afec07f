"""Makes docs/pictures/private-*.png anew, from a real call: `python -m tests.browser.private_pictures`."""

from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from tests.browser.private_stage import NARROW, WIDE, Stage, set_stage

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "pictures"


def take(page: Page, name: str) -> None:
    """At 320 pixels, as on a telephone, and at 1440."""
    before = page.viewport_size
    for size in (NARROW, WIDE):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        page.screenshot(path=FOLDER / f"private-{name}-{size['width']}.png", full_page=True)
    page.set_viewport_size(before)  # type: ignore[arg-type]


def main() -> None:
    with sync_playwright() as playwright, set_stage(playwright) as stage:
        pictures_of_a_call(stage)


def pictures_of_a_call(stage: Stage) -> None:
    link = stage.invite()
    take(stage.staff, "link")
    customer = stage.customer(link)
    expect(customer.get_by_role("button", name="Call", exact=True)).to_be_visible()
    take(customer, "welcome")
    customer.get_by_role("button", name="Call", exact=True).click()
    expect(stage.staff.get_by_role("button", name="Answer")).to_be_visible()
    take(stage.staff, "ring")
    stage.staff.get_by_role("button", name="Answer").click()
    expect(customer.get_by_role("button", name="Answer")).to_be_visible()
    take(customer, "answer")
    customer.get_by_role("button", name="Answer").click()
    expect(stage.staff.locator("#talk-words")).to_have_text("You are speaking.")
    take(customer, "talk")
    take(stage.staff, "talk-staff")
    customer.get_by_role("button", name="Hang up").click()
    stage.over(stage.staff)
    bare = stage.customer(link.partition("#")[0])
    expect(bare.get_by_role("heading", name="This link is not whole")).to_be_visible()
    take(bare, "incomplete")
    again = stage.customer(link)
    again.get_by_role("button", name="Call", exact=True).click()
    stage.over(again)
    take(again, "expired")


if __name__ == "__main__":
    main()
