"""Contrasts of what a page shows, as WCAG 2 measures them."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

# Every piece of text that is seen, with its colour and the colours behind it, nearest first.
_TEXTS = """() => {
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const said = walker.currentNode.textContent.trim();
    if (!said || element.closest(".unseen, .skip")) continue;
    if (!element.checkVisibility({ opacityProperty: true })) continue;
    const box = element.getBoundingClientRect();
    if (!box.width || !box.height) continue;
    const behind = [];
    let faint = false;
    for (let each = element; each; each = each.parentElement) {
      const style = getComputedStyle(each);
      behind.push(style.backgroundColor);
      // Not asked of what cannot be used.
      faint ||= each.matches(":has(:disabled), [aria-disabled]") && Number(style.opacity) < 1;
    }
    const style = getComputedStyle(element);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    if (!faint) found.push({ said: said.slice(0, 40), color: style.color, behind, large });
  }
  return found;
}"""


def weak_texts(page: Page) -> list[str]:
    """Texts with less contrast than level AA asks for: 4.5, or 3 where they are large."""
    found: list[dict[str, Any]] = page.evaluate(_TEXTS)
    assert len(found) > 5
    weak = []
    for each in found:
        under = (255.0, 255.0, 255.0)
        for layer in reversed(each["behind"]):
            under = _over(layer, under)
        contrast = _contrast(_over(each["color"], under), under)
        if contrast < (3 if each["large"] else 4.5):
            weak.append(f"{each['said']!r}: {contrast:.2f}")
    return weak


def _over(color: str, under: tuple[float, ...]) -> tuple[float, ...]:
    """A CSS colour, seen over another one; both in 0 to 255."""
    assert color.startswith("rgb"), color
    red, green, blue, *rest = (float(part) for part in color.partition("(")[2].rstrip(")").split(","))
    alpha = rest[0] if rest else 1.0
    return tuple(
        alpha * mine + (1 - alpha) * below for mine, below in zip((red, green, blue), under, strict=True)
    )


def _contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """WCAG 2.1, section 1.4.3."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: tuple[float, ...]) -> float:
    """Relative luminance of sRGB."""
    parts = [value / 255 for value in color]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
