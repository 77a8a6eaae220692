// Draws the charts of a report in the reader's colours, and moves its slider. Everything it needs is in the page.
"use strict";
const dark = matchMedia("(prefers-color-scheme: dark)");

async function unpack() { // plotly.js travels packed; the page's policy knows its digest
  const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
}

function drawCharts() {
  const settings = JSON.parse(document.getElementById("settings").textContent);
  for (const chart of document.querySelectorAll("figure.chart")) {
    const figures = JSON.parse(chart.querySelector("script").textContent);
    const place = chart.querySelector(".plot");
    const draw = () => {
      const figure = structuredClone(dark.matches ? figures.dark : figures.light);
      Plotly.react(place, figure.data, figure.layout, settings);
    };
    draw();
    dark.addEventListener("change", draw);
  }
}

function moveSamples(box) {
  const {pictures, rules} = JSON.parse(box.querySelector("script").textContent);
  const controls = box.querySelector(".controls");
  const slider = controls.querySelector("input[type=range]"), shown = controls.querySelector("output");
  const rows = [...box.querySelectorAll("tbody tr")].map((row) => [...row.querySelectorAll("td")]);
  const lanes = box.querySelectorAll(".lane");
  const rule = () => controls.querySelector("input[type=radio]:checked").value;
  const show = () => {
    const place = rules[rule()].places[slider.valueAsNumber];
    box.querySelector(".takeaway").textContent = place.said;
    shown.textContent = place.at;
    shown.classList.toggle("money", rule() !== "step");
    slider.setAttribute("aria-valuetext", place.at);
    lanes.forEach((lane, i) => { lane.textContent = place.lanes[i]; });
    place.cells.forEach((cells, y) => cells.forEach(([picture, step, usd, stale], x) => {
      const cell = rows[y][x], image = cell.querySelector("img");
      image.hidden = picture < 0;
      if (picture >= 0) image.src = "data:image/png;base64," + pictures[picture];
      cell.querySelector(".step").textContent = step;
      cell.querySelector(".money").textContent = usd;
      cell.querySelector(".stale").textContent = stale;
    }));
  };
  const begin = () => {
    slider.max = rules[rule()].places.length - 1;
    slider.value = rules[rule()].start;
    controls.querySelector(".slider span").textContent = rule() === "step" ? "Step" : "Useful dollars";
    show();
  };
  controls.addEventListener("change", (event) => { if (event.target.type === "radio") begin(); });
  slider.addEventListener("input", show);
  controls.hidden = false;
  begin();
}

document.querySelectorAll(".samples").forEach(moveSamples);
unpack().then(drawCharts).catch((error) => {
  console.error(error);
  document.querySelectorAll("figure.chart .plot").forEach((place) => {
    place.style.minHeight = "0";
    place.textContent = "This browser cannot draw the chart; its numbers are in the table below.";
  });
});
