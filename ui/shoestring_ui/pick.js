// A click on a point of a plain chart is told to the page: which run it is.
export default function ({ setTriggerValue }) {
  function clicked(event) {
    const point = event.target.closest && event.target.closest(".graph [data-run]");
    if (point) setTriggerValue("run", Number(point.dataset.run));
  }
  document.addEventListener("click", clicked);
  return () => document.removeEventListener("click", clicked);
}
