// The first drawing goes when the app has drawn the page itself, or has shown its first content for a moment; at once where
// its colours are not this browser's, which the next request says. The app's scripts run in the thread that draws the frame, so
// they begin once it has been painted, or after half a second.
(() => {
  const first = document.getElementById("first");
  const theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  document.cookie = `${first.dataset.cookie}=${theme}; path=/; max-age=31536000; samesite=lax`;
  let soon = 0, begun = !first.dataset.entry;
  function begin() {
    if (begun) return;
    begun = true;
    const entry = Object.assign(document.createElement("script"), {type: "module", crossOrigin: "", src: first.dataset.entry});
    document.head.append(entry);
  }
  const watch = new MutationObserver(() => {
    const app = document.querySelector("[data-testid=stApp]");
    const drawn = app && app.dataset.testScriptState === "notRunning" && app.querySelector("[data-testid=stMain] h1");
    if (drawn || document.querySelector("[data-testid=stDialog]")) end();
    else if (!soon && app && app.querySelector(first.dataset.content)) soon = setTimeout(end, 200);
  });
  function end() {
    watch.disconnect();
    clearTimeout(soon);
    first.remove();
    begin();
  }
  first.addEventListener("load", () => requestAnimationFrame(() => setTimeout(begin)));
  setTimeout(begin, 500);
  if (theme !== first.dataset.theme) end();
  else watch.observe(document.body, {subtree: true, childList: true, attributes: true, attributeFilter: ["data-test-script-state"]});
})();
