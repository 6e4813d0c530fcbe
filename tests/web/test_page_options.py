"""Models, strength and colour on the page and in the jobs it requests; no worker, so nothing is computed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from page_browser import PageUser, expect
from page_contrast import weak_texts
from playwright.sync_api import Browser, Locator
from web_client import LocalServer, assert_error

import media_samples as media
import onnx_samples
from looks_samples import looks_folder
from vsrcli.errors import UsageError
from vsrcli.frames.geometry import NAMED_SIZES, SizeRequest, choose_geometry
from vsrcli.models.imported import ModelDescription, files_sha256
from vsrcli.models.library import add_model
from vsrcli.web.conversion import hide_paths
from vsrcli.web.options import SIZES, parse_job_request
from vsrcli.web.store import JobRecord, Store

Sample = Callable[..., Path]
pytestmark = pytest.mark.timeout(900)  # where something else takes the processors


@pytest.fixture(scope="module", autouse=True)
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Added networks, one that doubles and one that restores; and ``duf-s`` x2 in both looks."""
    folder = tmp_path_factory.mktemp("library")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VSR_MODELS", str(folder / "models"))
        patch.setenv("VSR_CACHE", str(folder / "cache"))
        patch.setenv("VSR_WEIGHTS", str(folder / "weights"))
        looks_folder(folder / "weights")
        for name, scale, licence in (("doubles", 2, "CC0-1.0"), ("restores", 1, "")):
            path = onnx_samples.upscaler(folder / f"{name}.onnx", scale)
            found = ModelDescription("onnx", "tiny", files_sha256(path), "image", scale)
            add_model(path, name, licence, description=found)
        yield


@pytest.fixture(scope="module")
def server(open_server: Callable[..., LocalServer]) -> LocalServer:
    return open_server(all_models=True)


def start(server: LocalServer, card: Locator) -> JobRecord:
    """Request a conversion; return the new job as it is stored."""
    rows, store = card.locator(".job"), Store(server.settings.database)
    count, known = rows.count(), {job.id for job in store.list_jobs()}
    card.get_by_role("button", name="Convert", exact=True).click()
    expect(rows).to_have_count(count + 1)
    (job,) = (job for job in store.list_jobs() if job.id not in known)
    return job


def test_strength_and_colour(browser: Browser, server: LocalServer, sample: Sample) -> None:
    user = PageUser(browser, server.url, reduced_motion="reduce")
    page, card = user.page, user.upload(sample(media.cfr, frames=3))
    card.get_by_text("Quality and file format").click()
    model, slider = card.get_by_label("Upscaling method"), card.get_by_role("slider")
    expect(slider).to_have_accessible_name("Strength of the network")
    expect(slider).to_have_accessible_description(
        "100% is the network’s picture, 0% plain interpolation (Lanczos)."
    )
    expect(slider).to_have_value("100")
    slider.focus()
    for _ in range(10):
        page.keyboard.press("ArrowLeft")
    expect(slider).to_have_attribute("aria-valuetext", "50%")
    expect(card.locator("output")).to_have_text("50%")
    colors = card.get_by_role("checkbox", name="Keep the colours of the video")
    expect(colors).to_be_hidden()
    job = start(server, card)
    assert (job.options["model"], job.options["strength"], job.options["keep_color"]) == (
        "duf-r", 0.5, None
    )  # fmt: skip
    assert job.arguments[job.arguments.index("--strength") + 1] == "0.5"

    card.get_by_text("Convert with other options").click()
    model.select_option("bicubic")  # which has no strength
    expect(slider).to_be_hidden()
    assert start(server, card).options["strength"] is None

    expect(model.get_by_role("option", name="doubles (CC0-1.0)")).to_have_count(1)
    model.select_option("doubles")
    expect(model).to_have_accessible_description("This network was made by others. Licence: CC0-1.0.")
    expect(slider).to_be_visible()
    expect(colors).to_be_checked()  # as with the command
    slider.focus()
    page.keyboard.press("Tab")
    expect(colors).to_be_focused()
    page.keyboard.press("Space")
    expect(colors).not_to_be_checked()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert weak_texts(page) == []
    slider.fill("0")
    job = start(server, card)
    assert (job.options["model"], job.options["strength"], job.options["keep_color"]) == ("doubles", 0, False)
    page.get_by_role("link", name="한국어").click()
    expect(slider).to_have_accessible_name("신경망 적용 강도")
    expect(card.get_by_role("checkbox")).to_have_accessible_name("원본 영상의 색 유지")
    user.leave()


def test_look(browser: Browser, server: LocalServer, sample: Sample) -> None:
    """The choice is there where there are sharp weights for the model and the size; only then it counts."""
    user = PageUser(browser, server.url, reduced_motion="reduce")
    page, card = user.page, user.upload(sample(media.cfr, frames=3))
    card.get_by_text("Quality and file format").click()
    look, slider = card.get_by_label("Look"), card.get_by_role("slider")
    model, strength_hint = card.get_by_label("Upscaling method"), card.locator("[data-part=strength-hint]")
    model.select_option("duf-s")
    expect(look).to_be_hidden()  # 4x is preselected
    card.get_by_role("radio", name=re.compile("^2× ?[0-9]")).check()
    expect(look).to_be_visible()
    expect(look).to_have_value("natural")
    expect(strength_hint).to_contain_text("Lanczos")
    look.select_option("sharp")
    expect(look).to_have_accessible_description(re.compile("^Sharp makes up texture"))
    expect(strength_hint).to_have_text("100% is the sharp look, 0% the natural one.")
    slider.fill("40")
    job = start(server, card)
    assert (job.options["model"], job.options["look"], job.options["strength"]) == ("duf-s", "sharp", 0.4)
    assert job.arguments[job.arguments.index("--look") + 1] == "sharp"
    card.get_by_text("Convert with other options").click()
    assert weak_texts(page) == []
    card.get_by_role("radio", name=re.compile("^4× ?[0-9]")).check()
    expect(look).to_be_hidden()
    assert start(server, card).options["look"] is None
    user.leave()


def test_sizes_are_those_of_the_command(browser: Browser, server: LocalServer) -> None:
    """Also where pixels are not square, and where a side lies between two even numbers."""
    videos = [
        (width, height, aspect)
        for width, height in ((720, 576), (720, 480), (644, 480), (1440, 1080), (480, 720), (643, 481))
        for aspect in (Fraction(1), Fraction(64, 45), Fraction(16, 15), Fraction(8, 9), Fraction(3, 8))
    ]
    requests: list[tuple[dict[str, Any], SizeRequest | None]] = [
        *(({"scale": scale}, None) for scale in ("1.5", "3")),
        ({"height": 2000}, SizeRequest(height=2000)),
        *(({"size": size}, SizeRequest(*NAMED_SIZES[size], swap_for_portrait=True)) for size in SIZES),
    ]
    expected = []
    for width, height, aspect in videos:
        for body, request in requests:
            with suppress(UsageError):
                if "scale" in body:
                    arguments = parse_job_request(body).arguments_for(width, height)
                    if "--height" in arguments:  # a side would be odd
                        request = SizeRequest(height=int(arguments[arguments.index("--height") + 1]))
                chosen = choose_geometry(width, height, aspect, Fraction(body.get("scale", 1)), request)
                video = {"width": width, "height": height, "pixel_aspect": float(aspect)}
                native = next((scale for scale in (2, 3, 4) if scale >= chosen.factor), 4)
                expected.append((video, body, [chosen.width, chosen.height, native]))
    assert len(expected) > 100
    user = PageUser(browser, server.url)
    found = user.page.evaluate(
        """async (cases) => {
            const { nativeScale, resultSize } = await import("/static/sizes.js");
            return cases.map(([video, body]) => {
                const { width, height } = resultSize(video, body);
                return [width, height, nativeScale(video, body, [2, 3, 4])];
            });
        }""",
        [[video, body] for video, body, _ in expected],
    )
    for (video, body, size), size_on_page in zip(expected, found, strict=True):
        assert size_on_page == size, (video, body)
    ratio = user.page.evaluate(
        """async () => {
            const { Comparison } = await import("/static/comparison.js");
            const result = { preview_times: [], width: 720, height: 576, pixel_aspect: 64 / 45 };
            const { root } = new Comparison({ id: "1", options: {}, result });
            return Number(root.querySelector(".comparison").style.getPropertyValue("--ratio"));
        }"""
    )
    assert ratio == pytest.approx(16 / 9)
    user.leave()


def test_offered_models(open_server: Callable[..., LocalServer], server: LocalServer) -> None:
    def models(client: Any) -> dict[str, dict[str, Any]]:
        return {model["name"]: model for model in client.get("/api/options").json()["models"]}

    client, plain = server.client(), open_server().client()
    offered = models(client)
    imported = {name for name, model in offered.items() if model["imported"]}
    assert "doubles" in imported
    assert "restores" not in imported  # the page enlarges
    assert offered["doubles"]["licence"] == "CC0-1.0"
    assert (offered["duf-s"]["scales"], offered["duf-s"]["sharp_scales"]) == ([2, 3, 4], [2])
    assert offered["doubles"]["sharp_scales"] == offered["bicubic"]["sharp_scales"] == []
    assert (offered["doubles"]["scales"], offered["doubles"]["keep_color"]) == ([2], True)
    assert (offered["duf-r-s"]["network"], offered["bicubic"]["network"]) == (True, False)
    assert set(models(plain)) == set(offered) - imported
    request = {"model": "doubles", "scale": 2}
    assert_error(plain.post("/api/videos/x/jobs", json=request), 422, "unknown_option")
    assert_error(client.post("/api/videos/x/jobs", json=request), 404, "not_found")
    assert_error(client.post("/api/videos/x/jobs", json={"model": "restores"}), 422, "unknown_option")
    assert_error(client.post("/api/videos/x/jobs", json={"model": "/etc/x.onnx"}), 422, "unknown_option")


def test_paths_of_networks_are_hidden() -> None:
    source, target = Path("/data/uploads/a/video.mp4"), Path("/data/jobs/b/result.mp4")
    text = "'/srv/models/doubles/doubles.onnx' has changed since it was read: run the command again"
    assert hide_paths(text, source, target, "x.mp4").startswith("doubles.onnx has changed")
    assert (
        hide_paths(f"cannot write {str(target.parent)!r}", source, target, "x.mp4")
        == "cannot write 'the server'"
    )
    text = "/data/jobs/b/.result.mp4.vsr/journal cannot be written (No space left on device); free some space"
    assert hide_paths(text, source, target, "x.mp4").startswith("the server cannot be written (No space")
