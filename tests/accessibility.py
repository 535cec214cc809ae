"""What axe-core finds on a page."""

from playwright.sync_api import Page


def violations(page: Page, axe: str, where: str, *, settle_ms: float = 100) -> list[str]:
    """What axe finds, one line each, once transitions of colours have had time to end."""
    page.wait_for_timeout(settle_ms)
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{where}: {rule['id']} ({rule['impact']}) {node['target']} {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]
