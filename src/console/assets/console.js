// The pages work without this: it adds keys, copying, and figures that stay current.
"use strict";
(() => {
  const all = (selector) => [...document.querySelectorAll(selector)];

  // An identifier is copied by one click.
  const copies = (root) => root.querySelectorAll("[data-copy]").forEach((button) => {
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.classList.add("done");
      setTimeout(() => button.classList.remove("done"), 1200);
    });
  });
  if (navigator.clipboard) copies(document);

  // On a phone the navigation is wider than the screen.
  document.querySelector("nav.places [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });
  for (const here of all(".tabs [aria-current]")) {
    const tabs = here.parentElement;
    tabs.scrollLeft = here.offsetLeft - tabs.offsetLeft - (tabs.clientWidth - here.offsetWidth) / 2;
  }

  // "/" searches; j and k move through the rows of the list, Enter opens one.
  const rows = () => all("tr[data-href]");
  const select = (step) => {
    const list = rows();
    if (list.length === 0) return;
    const at = list.findIndex((row) => row.ariaSelected === "true");
    const next = list[at < 0 ? 0 : Math.min(Math.max(at + step, 0), list.length - 1)];
    if (at >= 0) list[at].removeAttribute("aria-selected");
    next.ariaSelected = "true";
    next.scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("keydown", (event) => {
    const field = event.target.closest("input, select, textarea, [contenteditable]");
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (field) {
      if (event.key === "Escape") field.blur();
      return;
    }
    const selected = document.querySelector("tr[aria-selected=true]");
    if (event.key === "/") {
      const search = document.querySelector("[data-search]");
      if (search) { search.focus(); search.select(); }
    } else if (event.key === "j") select(1);
    else if (event.key === "k") select(-1);
    else if (event.key === "Enter" && selected && !event.target.closest("a, button, summary")) {
      location.assign(selected.dataset.href);
    } else return;
    event.preventDefault();
  });
  // The whole row is the link.
  document.addEventListener("click", (event) => {
    const row = event.target.closest("tr[data-href]");
    if (row && !event.target.closest("a, button, input, label, summary, form") && getSelection().isCollapsed) {
      location.assign(row.dataset.href);
    }
  });

  // A filter takes effect when it is chosen.
  all("form[data-auto] select").forEach((field) => field.addEventListener("change", () => field.form.submit()));

  // What has data-live is read anew from its address every few seconds while the page is seen; data that is older than
  // ten seconds says so.
  all("[data-live]").forEach((part) => {
    const every = Number(part.dataset.every || 5) * 1000;
    let last = Date.now();
    const stale = () => part.classList.toggle("stale", Date.now() - last > Math.max(10000, every * 2));
    const load = async () => {
      if (document.hidden || part.contains(document.activeElement)) return stale();
      try {
        const answer = await fetch(part.dataset.live, { headers: { accept: "text/html" }, redirect: "error" });
        if (answer.ok) {
          const page = new DOMParser().parseFromString(await answer.text(), "text/html");
          const fresh = page.getElementById(part.id);
          // What is not live any more has ended: the page around it has other buttons.
          if (fresh && !fresh.dataset.live) return location.reload();
          if (fresh) {
            part.replaceChildren(...fresh.childNodes);
            if (navigator.clipboard) copies(part);
            last = Date.now();
          }
        }
      } catch { /* The next time; what is shown is marked as old. */ }
      stale();
    };
    setInterval(load, every);
    document.addEventListener("visibilitychange", load);
  });
})();
