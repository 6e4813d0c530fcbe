"use strict";
(() => {
  const element = (id) => document.getElementById(id);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const data = JSON.parse(element("data").textContent);
  const stage = element("stage"), position = element("position"), flip = element("flip");
  const images = data.snapshots.map((snapshot) => snapshot.images.map((uri) => Object.assign(new Image(), { src: uri })));
  let current = 0; // index of the snapshot
  let focus = null; // center of the detail; null: where each snapshot has most of it

  const checked = (name) => all(`input[name=${name}]`).find((input) => input.checked).value;
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  // The two frames.
  function showFrames() {
    for (const side of ["left", "right"]) {
      const video = Number(element(side).value);
      const name = data.names[video];
      element(`${side}-image`).src = data.snapshots[current].images[video];
      element(`${side}-image`).alt = `${name}, at ${data.snapshots[current].time}`;
      element(`${side}-badge`).textContent = name;
    }
    updateView();
    drawDetails();
  }

  function updateView() {
    stage.style.setProperty("--split", `${position.value}%`);
    const percent = Math.round(position.value);
    position.setAttribute("aria-valuetext", `${percent} % ${data.names[element("left").value]}`);
    const video = stage.classList.contains("flipped") ? element("right").value : element("left").value;
    flip.textContent = `Showing ${data.names[video]}: flip`;
  }

  function updateLayout() {
    const view = checked("view"), size = Number(checked("size"));
    const flipped = view === "flip" && stage.classList.contains("flipped");
    stage.className = view + (flipped ? " flipped" : "");
    position.hidden = view !== "slider";
    flip.hidden = view !== "flip";
    const squares = element("squares").checked;
    stage.classList.toggle("squares", squares && size > 1);
    stage.classList.toggle("fit", !size); // where a finger drags the line sideways; else it scrolls
    element("details").classList.toggle("squares", squares);
    const panes = view === "side" ? 2 : 1;
    stage.style.aspectRatio = panes === 2 ? "auto" : String(data.aspect);
    for (const image of [element("left-image"), element("right-image")]) image.style.aspectRatio = String(data.aspect);
    stage.style.width = size
      ? `${(panes * size * data.height * data.aspect) / devicePixelRatio}px`
      : `min(100%, ${86 * data.aspect * panes}vh)`;
    updateView();
    drawDetails();
  }

  // The same part of all videos, enlarged.
  const panels = data.names.map((name) => {
    const figure = document.createElement("figure"), canvas = document.createElement("canvas");
    const caption = document.createElement("figcaption");
    canvas.setAttribute("role", "img");
    caption.textContent = name;
    figure.append(canvas, caption);
    element("details").append(figure);
    return canvas;
  });

  function drawDetails() {
    const zoom = Number(checked("zoom")), [column, row] = focusPoint();
    let size = [0, 0];
    panels.forEach((canvas, video) => {
      const image = images[current][video];
      canvas.width = Math.max(Math.round(canvas.clientWidth * devicePixelRatio), 1);
      canvas.height = Math.max(Math.round(canvas.clientHeight * devicePixelRatio), 1);
      size = [canvas.width / zoom, canvas.height / zoom];
      const context = canvas.getContext("2d");
      context.imageSmoothingEnabled = !element("squares").checked;
      const draw = () => context.drawImage(image, ...detailCorner(size), ...size, 0, 0, canvas.width, canvas.height);
      image.complete ? draw() : image.addEventListener("load", () => image === images[current][video] && drawDetails(), { once: true });
      canvas.setAttribute("aria-label", `${data.names[video]} around column ${column}, row ${row}, ${zoom} times enlarged`);
    });
    const [x, y] = detailCorner(size), lens = element("lens").style;
    lens.left = `${(100 * x) / data.width}%`;
    lens.top = `${(100 * y) / data.height}%`;
    lens.width = `${(100 * Math.min(size[0], data.width)) / data.width}%`;
    lens.height = `${(100 * Math.min(size[1], data.height)) / data.height}%`;
    element("focus-x").value = column;
    element("focus-y").value = row;
  }

  function focusPoint() {
    return focus || data.snapshots[current].focus;
  }

  function detailCorner(size) {
    const center = focusPoint();
    return [0, 1].map((axis) => {
      const range = (axis ? data.height : data.width) - size[axis];
      return Math.round(range > 0 ? clamp(center[axis] - size[axis] / 2, 0, range) : range / 2);
    });
  }

  function setFocus(x, y) {
    focus = [clamp(Math.round(x) || 0, 0, data.width - 1), clamp(Math.round(y) || 0, 0, data.height - 1)];
    drawDetails();
  }

  // Dragging moves the dividing line; a click chooses the detail.
  let drag = null;
  const relativePosition = (event) => {
    const box = (event.target.closest(".pane") || stage).getBoundingClientRect();
    return [clamp((event.clientX - box.left) / box.width, 0, 1), clamp((event.clientY - box.top) / box.height, 0, 1)];
  };
  stage.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    drag = { x: event.clientX, moved: event.target.id === "divider" };
    if (stage.classList.contains("slider")) stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    if (!drag) return;
    drag.moved ||= Math.abs(event.clientX - drag.x) > 4;
    if (!drag.moved || !stage.classList.contains("slider")) return;
    const box = stage.getBoundingClientRect();
    position.value = (100 * (event.clientX - box.left)) / box.width;
    updateView();
  });
  stage.addEventListener("pointerup", (event) => {
    if (drag && !drag.moved) {
      const [x, y] = relativePosition(event);
      setFocus(x * data.width, y * data.height);
    }
    drag = null;
  });
  stage.addEventListener("pointercancel", () => (drag = null));

  // Plots: one cursor for all.
  const plots = data.plots ? all(".plot") : [];
  let cursor = 0; // index of a bin
  const binOf = (frame) => Math.floor(frame / data.plots.bin_size);
  function moveCursor(bin) {
    cursor = clamp(bin, 0, data.plots.x.length - 1);
    const { frames: count, bin_size, first_frames, times, x, mean, minimum, digits } = data.plots;
    const first = first_frames[cursor];
    const last = Math.min(first + bin_size, count) - 1;
    const frames = last > first ? `frames ${first} to ${last}` : `frame ${first}`;
    for (const plot of plots) {
      const key = plot.dataset.metric, svg = plot.querySelector("svg");
      const values = mean[key].map((means, video) => {
        const lowest = minimum ? ` (lowest ${minimum[key][video][cursor].toFixed(digits[key])})` : "";
        return `${means[cursor].toFixed(digits[key])}${lowest}`;
      });
      plot.querySelector("output").replaceChildren(`${frames}, ${times[cursor]}`, ...values.map(coloredValue));
      svg.querySelector(".cursor").setAttribute("d", `M${x[cursor]} 0V200`);
      svg.setAttribute("aria-valuenow", String(cursor));
      const named = values.map((value, video) => `${data.names[video]} ${value}`);
      svg.setAttribute("aria-valuetext", `${frames}, ${times[cursor]}: ${named.join(", ")}`);
    }
  }
  function coloredValue(text, video) {
    const swatch = all(".legend .series")[video];
    const span = Object.assign(document.createElement("span"), { textContent: text, title: data.names[video] });
    span.className = swatch.getAttribute("class").replace("series", "value");
    return span;
  }
  function nearest(positions, x) {
    return positions.reduce((best, candidate, index) => (Math.abs(candidate - x) < Math.abs(positions[best] - x) ? index : best), 0);
  }
  function selectSnapshot(index) {
    current = index;
    all("input[name=snapshot]")[index].checked = true;
    showFrames();
  }
  function selectNearCursor(tolerance) {
    const { x } = data.plots;
    const positions = data.snapshots.map((snapshot) => x[binOf(snapshot.index)]);
    const index = nearest(positions, x[cursor]);
    if (Math.abs(positions[index] - x[cursor]) <= tolerance) selectSnapshot(index), moveCursor(binOf(data.snapshots[index].index));
    else plots.forEach((plot) => plot.querySelector("output").append(" · no image of this frame: marks show the frames that have one"));
  }
  for (const plot of plots) {
    const svg = plot.querySelector("svg");
    const follow = (event) => {
      const box = svg.getBoundingClientRect();
      moveCursor(nearest(data.plots.x, (1000 * (event.clientX - box.left)) / box.width));
      return (1000 * 8) / box.width;
    };
    svg.addEventListener("pointermove", follow);
    svg.addEventListener("click", (event) => selectNearCursor(follow(event)));
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 }[event.key];
      if (step) moveCursor(cursor + step);
      else if (event.key === "Home") moveCursor(0);
      else if (event.key === "End") moveCursor(Infinity);
      else if (event.key === "Enter" || event.key === " ") selectNearCursor(0);
      else return;
      event.preventDefault();
    });
  }

  // Controls.
  element("left").addEventListener("change", showFrames);
  element("right").addEventListener("change", showFrames);
  element("swap").addEventListener("click", () => {
    [element("left").value, element("right").value] = [element("right").value, element("left").value];
    showFrames();
  });
  position.addEventListener("input", updateView);
  flip.addEventListener("click", () => (stage.classList.toggle("flipped"), updateView()));
  all("input[name=view], input[name=size]").forEach((input) => input.addEventListener("change", updateLayout));
  all("input[name=zoom]").forEach((input) => input.addEventListener("change", drawDetails));
  element("squares").addEventListener("change", updateLayout);
  all("input[name=snapshot]").forEach((input, index) => {
    input.addEventListener("change", () => {
      selectSnapshot(index);
      if (data.plots) moveCursor(binOf(data.snapshots[index].index));
    });
    input.parentElement.querySelector("img").src = data.snapshots[index].images[element("right").value];
  });
  const focusEntered = () => setFocus(element("focus-x").value, element("focus-y").value);
  element("focus-x").addEventListener("change", focusEntered);
  element("focus-y").addEventListener("change", focusEntered);
  element("focus-x").max = data.width - 1;
  element("focus-y").max = data.height - 1;
  addEventListener("resize", drawDetails);
  updateLayout();
  showFrames();
  if (data.plots) moveCursor(binOf(data.snapshots[0].index));
})();
