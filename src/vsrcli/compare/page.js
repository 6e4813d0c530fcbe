"use strict";
(() => {
  const by = (id) => document.getElementById(id);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const data = JSON.parse(by("data").textContent);
  const stage = by("stage"), position = by("position"), flip = by("flip");
  const images = data.shots.map((shot) => shot.pictures.map((uri) => Object.assign(new Image(), { src: uri })));
  let shot = 0, chosen = null; // where the detail is; without a choice, where each moment has most of it

  const picked = (name) => all(`input[name=${name}]`).find((input) => input.checked).value;
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  // The two pictures.
  function show() {
    for (const side of ["left", "right"]) {
      const film = Number(by(side).value);
      const name = data.names[film];
      by(`${side}-image`).src = data.shots[shot].pictures[film];
      by(`${side}-image`).alt = `${name}, at ${data.shots[shot].time}`;
      by(`${side}-chip`).textContent = name;
    }
    said();
    details();
  }

  function said() {
    stage.style.setProperty("--cut", `${position.value}%`);
    const share = Math.round(position.value);
    position.setAttribute("aria-valuetext", `${share} % ${data.names[by("left").value]}`);
    const film = stage.classList.contains("flipped") ? by("right").value : by("left").value;
    flip.textContent = `Showing ${data.names[film]}: flip`;
  }

  function arrange() {
    const view = picked("view"), size = Number(picked("size"));
    const flipped = view === "flip" && stage.classList.contains("flipped");
    stage.className = view + (flipped ? " flipped" : "");
    position.hidden = view !== "slider";
    flip.hidden = view !== "flip";
    const squares = by("squares").checked;
    stage.classList.toggle("squares", squares && size > 1);
    by("details").classList.toggle("squares", squares);
    const panes = view === "side" ? 2 : 1;
    stage.style.aspectRatio = panes === 2 ? "auto" : String(data.aspect);
    for (const image of [by("left-image"), by("right-image")]) image.style.aspectRatio = String(data.aspect);
    stage.style.width = size
      ? `${(panes * size * data.height * data.aspect) / devicePixelRatio}px`
      : `min(100%, ${86 * data.aspect * panes}vh)`;
    said();
    details();
  }

  // The same place of all films, enlarged.
  const panels = data.names.map((name) => {
    const figure = document.createElement("figure"), canvas = document.createElement("canvas");
    const caption = document.createElement("figcaption");
    canvas.setAttribute("role", "img");
    caption.textContent = name;
    figure.append(canvas, caption);
    by("details").append(figure);
    return canvas;
  });

  function details() {
    const zoom = Number(picked("zoom")), focus = place();
    let part = [0, 0];
    panels.forEach((canvas, film) => {
      const image = images[shot][film];
      canvas.width = Math.max(Math.round(canvas.clientWidth * devicePixelRatio), 1);
      canvas.height = Math.max(Math.round(canvas.clientHeight * devicePixelRatio), 1);
      part = [canvas.width / zoom, canvas.height / zoom];
      const context = canvas.getContext("2d");
      context.imageSmoothingEnabled = !by("squares").checked;
      const draw = () => context.drawImage(image, ...corner(part), ...part, 0, 0, canvas.width, canvas.height);
      image.complete ? draw() : image.addEventListener("load", () => image === images[shot][film] && details(), { once: true });
      canvas.setAttribute("aria-label", `${data.names[film]} around column ${focus[0]}, row ${focus[1]}, ${zoom} times enlarged`);
    });
    const [x, y] = corner(part), lens = by("lens").style;
    lens.left = `${(100 * x) / data.width}%`;
    lens.top = `${(100 * y) / data.height}%`;
    lens.width = `${(100 * Math.min(part[0], data.width)) / data.width}%`;
    lens.height = `${(100 * Math.min(part[1], data.height)) / data.height}%`;
    by("focus-x").value = focus[0];
    by("focus-y").value = focus[1];
  }

  function place() {
    return chosen || data.shots[shot].focus;
  }

  function corner(part) {
    const focus = place();
    return [0, 1].map((axis) => {
      const room = (axis ? data.height : data.width) - part[axis];
      return Math.round(room > 0 ? clamp(focus[axis] - part[axis] / 2, 0, room) : room / 2);
    });
  }

  function look(x, y) {
    chosen = [clamp(Math.round(x) || 0, 0, data.width - 1), clamp(Math.round(y) || 0, 0, data.height - 1)];
    details();
  }

  // Dragging moves the line; a click chooses the place of the detail.
  let down = null;
  const share = (event) => {
    const box = (event.target.closest(".pane") || stage).getBoundingClientRect();
    return [clamp((event.clientX - box.left) / box.width, 0, 1), clamp((event.clientY - box.top) / box.height, 0, 1)];
  };
  stage.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    down = { x: event.clientX, moved: event.target.id === "edge" };
    if (stage.classList.contains("slider")) stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    if (!down) return;
    down.moved ||= Math.abs(event.clientX - down.x) > 4;
    if (!down.moved || !stage.classList.contains("slider")) return;
    const box = stage.getBoundingClientRect();
    position.value = (100 * (event.clientX - box.left)) / box.width;
    said();
  });
  stage.addEventListener("pointerup", (event) => {
    if (down && !down.moved) {
      const [x, y] = share(event);
      look(x * data.width, y * data.height);
    }
    down = null;
  });
  stage.addEventListener("pointercancel", () => (down = null));

  // Figures: one cursor for all plots.
  const plots = data.plots ? all(".plot") : [];
  let at = 0;
  function point(number) {
    at = clamp(number, 0, data.plots.x.length - 1);
    const { size, first, times, x, mean, low, digits } = data.plots;
    const frame = size > 1 ? `frames ${first[at]} to ${first[at] + size - 1}` : `frame ${first[at]}`;
    for (const plot of plots) {
      const key = plot.dataset.metric, svg = plot.querySelector("svg");
      const values = mean[key].map((film, which) => {
        const lowest = low ? ` (lowest ${low[key][which][at].toFixed(digits[key])})` : "";
        return `${film[at].toFixed(digits[key])}${lowest}`;
      });
      plot.querySelector("output").replaceChildren(`${frame}, ${times[at]}`, ...values.map(coloured));
      svg.querySelector(".cursor").setAttribute("d", `M${x[at]} 0V200`);
      svg.setAttribute("aria-valuenow", String(at));
      const named = values.map((value, which) => `${data.names[which]} ${value}`);
      svg.setAttribute("aria-valuetext", `${frame}, ${times[at]}: ${named.join(", ")}`);
    }
  }
  function coloured(text, which) {
    const swatch = all(".legend .series")[which];
    const shown = Object.assign(document.createElement("span"), { textContent: text, title: data.names[which] });
    shown.className = swatch.getAttribute("class").replace("series", "value");
    return shown;
  }
  function nearest(places, x) {
    return places.reduce((best, place, number) => (Math.abs(place - x) < Math.abs(places[best] - x) ? number : best), 0);
  }
  function choose(number) {
    shot = number;
    all("input[name=shot]")[number].checked = true;
    show();
  }
  function jump(reach) {
    const { size, first, x } = data.plots;
    const places = data.shots.map((each) => x[Math.floor(each.number / size)]);
    const number = nearest(places, x[at]);
    if (Math.abs(places[number] - x[at]) <= reach) choose(number), point(Math.floor(data.shots[number].number / size));
    else plots.forEach((plot) => plot.querySelector("output").append(" · no picture of it: marks show where there are some"));
  }
  for (const plot of plots) {
    const svg = plot.querySelector("svg");
    const follow = (event) => {
      const box = svg.getBoundingClientRect();
      point(nearest(data.plots.x, (1000 * (event.clientX - box.left)) / box.width));
      return (1000 * 8) / box.width;
    };
    svg.addEventListener("pointermove", follow);
    svg.addEventListener("click", (event) => jump(follow(event)));
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 }[event.key];
      if (step) point(at + step);
      else if (event.key === "Home") point(0);
      else if (event.key === "End") point(Infinity);
      else if (event.key === "Enter" || event.key === " ") jump(0);
      else return;
      event.preventDefault();
    });
  }

  by("left").addEventListener("change", show);
  by("right").addEventListener("change", show);
  by("swap").addEventListener("click", () => {
    [by("left").value, by("right").value] = [by("right").value, by("left").value];
    show();
  });
  position.addEventListener("input", said);
  flip.addEventListener("click", () => (stage.classList.toggle("flipped"), said()));
  all("input[name=view], input[name=size]").forEach((input) => input.addEventListener("change", arrange));
  all("input[name=zoom]").forEach((input) => input.addEventListener("change", details));
  by("squares").addEventListener("change", arrange);
  all("input[name=shot]").forEach((input, number) => {
    input.addEventListener("change", () => {
      choose(number);
      if (data.plots) point(Math.floor(data.shots[number].number / data.plots.size));
    });
    input.parentElement.querySelector("img").src = data.shots[number].pictures[by("right").value];
  });
  const typed = () => look(by("focus-x").value, by("focus-y").value);
  by("focus-x").addEventListener("change", typed);
  by("focus-y").addEventListener("change", typed);
  by("focus-x").max = data.width - 1;
  by("focus-y").max = data.height - 1;
  addEventListener("resize", details);
  arrange();
  show();
  if (data.plots) point(Math.floor(data.shots[0].number / data.plots.size));
})();
