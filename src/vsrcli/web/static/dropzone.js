// Choosing files with the button, or by dropping them anywhere on the page.

/** Call onFiles with the files of every choice or drop; folders are ignored. */
export function setUpDropzone(zone, input, onFiles) {
  const takeChosen = () => {
    const files = [...input.files];
    input.value = ""; // so that the same file can be chosen again
    onFiles(files);
  };
  input.addEventListener("change", takeChosen);
  if (input.files.length) takeChosen(); // chosen while the page was still loading
  let depth = 0; // elements that the pointer has entered and not left
  const highlight = () => zone.classList.toggle("dragover", depth > 0);
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => {
    if (!hasFiles(event)) return;
    depth += 1;
    highlight();
  });
  addEventListener("dragleave", (event) => {
    if (!hasFiles(event)) return;
    depth = Math.max(depth - 1, 0);
    highlight();
  });
  addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
  });
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    highlight();
    const items = [...event.dataTransfer.items];
    onFiles(
      items
        .filter((item) => item.kind === "file" && !item.webkitGetAsEntry?.()?.isDirectory)
        .map((item) => item.getAsFile())
        .filter(Boolean),
    );
  });
}
