// Files come by the button, or dropped anywhere on the page.

/** Call onFiles with the files of every choice or drop; folders are left out. */
export function dropzone(zone, input, onFiles) {
  input.addEventListener("change", () => {
    const files = [...input.files];
    input.value = ""; // so that the same file can be chosen again
    onFiles(files);
  });
  let inside = 0; // elements that the pointer has entered and not left
  const mark = () => zone.classList.toggle("over", inside > 0);
  const carries = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => {
    if (!carries(event)) return;
    inside += 1;
    mark();
  });
  addEventListener("dragleave", (event) => {
    if (!carries(event)) return;
    inside = Math.max(inside - 1, 0);
    mark();
  });
  addEventListener("dragover", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
  });
  addEventListener("drop", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    inside = 0;
    mark();
    const items = [...event.dataTransfer.items];
    onFiles(
      items
        .filter((item) => item.kind === "file" && !item.webkitGetAsEntry?.()?.isDirectory)
        .map((item) => item.getAsFile())
        .filter(Boolean),
    );
  });
}
