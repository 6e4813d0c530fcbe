"""Contrast of the texts on a page, as WCAG 2 defines it."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

# Every visible text, with its colour and the background colours of its ancestors, nearest first.
_TEXTS = """() => {
  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const content = walker.currentNode.textContent.trim();
    if (!content || element.closest(".visually-hidden, .skip")) continue;
    if (!element.checkVisibility({ opacityProperty: true })) continue;
    const box = element.getBoundingClientRect();
    if (!box.width || !box.height) continue;
    const backgrounds = [];
    let isDisabled = false;
    for (let each = element; each; each = each.parentElement) {
      const style = getComputedStyle(each);
      backgrounds.push(style.backgroundColor);
      // WCAG exempts disabled controls.
      isDisabled ||= each.matches(":has(:disabled), [aria-disabled]") && Number(style.opacity) < 1;
    }
    const style = getComputedStyle(element);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    if (!isDisabled) texts.push({ content: content.slice(0, 40), color: style.color, backgrounds, large });
  }
  return texts;
}"""


def weak_texts(page: Page) -> list[str]:
    """Return the texts with less contrast than level AA requires: 4.5, or 3 for large ones."""
    texts: list[dict[str, Any]] = page.evaluate(_TEXTS)
    assert len(texts) > 5
    weak = []
    for text in texts:
        background = (255.0, 255.0, 255.0)
        for layer in reversed(text["backgrounds"]):
            background = _blend(layer, background)
        contrast = _contrast(_blend(text["color"], background), background)
        if contrast < (3 if text["large"] else 4.5):
            weak.append(f"{text['content']!r}: {contrast:.2f}")
    return weak


def _blend(color: str, background: tuple[float, ...]) -> tuple[float, ...]:
    """Return a CSS colour blended over another one; both in 0..255."""
    assert color.startswith("rgb"), color
    red, green, blue, *rest = (float(part) for part in color.partition("(")[2].rstrip(")").split(","))
    alpha = rest[0] if rest else 1.0
    return tuple(
        alpha * top + (1 - alpha) * bottom for top, bottom in zip((red, green, blue), background, strict=True)
    )


def _contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Return the contrast ratio of two colours (WCAG 2.1, section 1.4.3)."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: tuple[float, ...]) -> float:
    """Return the relative luminance of an sRGB colour in 0..255."""
    parts = [value / 255 for value in color]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
