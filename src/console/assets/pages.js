
// A replay's progress comes as events until it ends; then the page is loaded with its results.
(() => {
  const part = document.querySelector("[data-stream]");
  if (!part) return;
  const events = new EventSource(part.dataset.stream);
  const set = (name, text) => { part.querySelector(`[data-${name}]`).textContent = text; };
  // The link of pages without script; it comes back where the events end too early.
  const reload = part.querySelector("[data-reload]");
  events.addEventListener("open", () => { reload.hidden = true; });
  events.addEventListener("error", () => { reload.hidden = events.readyState !== EventSource.CLOSED; });
  const begun = part.querySelector(".badge")?.textContent.trim();
  events.addEventListener("progress", (event) => {
    const progress = JSON.parse(event.data);
    const bar = part.querySelector("progress");
    bar.max = Math.max(progress.total, 1);
    bar.value = progress.done;
    set("says", progress.says);
    set("settled", progress.settled);
    set("no-op", progress.no_op);
    set("failed", progress.failed);
    // Another state has other buttons.
    if (progress.ended || (begun && progress.word !== begun)) {
      events.close();
      location.reload();
    }
  });
})();
