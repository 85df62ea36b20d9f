/** Where picture files come from: chosen, dropped anywhere on the page, or pasted. */

/** Call `onFiles` with the files of each choice, drop or paste; `zone` shows that a drop is possible. */
export function connectFiles({ input, zone, onFiles }) {
  input.addEventListener("change", () => {
    onFiles([...input.files]);
    input.value = ""; // so that the same file can be chosen again
  });
  document.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) {
      event.preventDefault();
      onFiles([...event.clipboardData.files]);
    }
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault(); // or the browser would open the file
    zone.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) {
      zone.classList.remove("over");
    }
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    onFiles([...event.dataTransfer.files]);
  });
}

/** Let a button open and close a panel; `onOpen` and `onClose` start and stop what it shows. */
export function connectPanel({ button, panel, onOpen = () => {}, onClose = () => {} }) {
  button.addEventListener("click", () => {
    panel.hidden = !panel.hidden;
    button.setAttribute("aria-expanded", String(!panel.hidden));
    (panel.hidden ? onClose : onOpen)();
  });
}
