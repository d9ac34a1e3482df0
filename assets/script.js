// The pages work without this script. It adds search as you type, buttons that copy commands, and progress.
"use strict";

(() => {
  const field = document.getElementById("q");
  // A live region that is replaced is not announced, so this one stays in the page.
  const announcer = document.getElementById("announcer");
  let timer = 0;
  let running = null;

  // Replaces the results by those of the query, as the server renders them.
  async function search(query) {
    if (running) running.abort();
    running = new AbortController();
    const url = new URL(field.form.action);
    if (query) url.searchParams.set("q", query);
    try {
      const response = await fetch(url, { headers: { Accept: "text/html" }, signal: running.signal });
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      const found = page.getElementById("results");
      const shown = document.getElementById("results");
      if (!response.ok || !found) return;
      if (shown) {
        shown.replaceWith(found);
        history.replaceState(null, "", url);
      } else {
        location.assign(url);
        return;
      }
      document.title = page.title;
      announcer.textContent = found.querySelector("[data-announce]")?.textContent ?? "";
      addButtons(found);
    } catch (error) {
      if (error.name !== "AbortError") field.form.submit();
    }
  }

  if (field && document.getElementById("results")) {
    field.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => search(field.value.trim()), 120);
    });
  }

  // "/" moves to the search, as in many tools of the trade.
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select");
    if (event.key === "/" && field && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      field.focus();
    }
  });

  const { copy, copied } = document.body.dataset;

  function addButtons(root) {
    if (!navigator.clipboard) return;
    for (const command of root.querySelectorAll(".command, .copyable")) {
      if (command.querySelector("button")) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "copy";
      button.textContent = copy;
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(command.querySelector("code").textContent);
        button.textContent = copied;
        setTimeout(() => { button.textContent = copy; }, 1500);
      });
      button.setAttribute("aria-live", "polite");
      command.append(button);
    }
  }

  addButtons(document);

  // Replaces a part of the page while a job runs. data-refresh is the interval in seconds.
  async function refresh() {
    const shown = document.getElementById("live");
    const seconds = Number(shown?.dataset.refresh);
    if (!seconds) return;
    await new Promise((resolve) => { setTimeout(resolve, seconds * 1000); });
    // A form that was sent is not sent again.
    const url = new URL(location.href);
    url.searchParams.delete("done");
    const response = await fetch(url, { headers: { Accept: "text/html" } }).catch(() => null);
    if (response?.ok) {
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      const found = page.getElementById("live");
      if (found) shown.replaceWith(found);
    }
    refresh();
  }

  refresh();
})();
