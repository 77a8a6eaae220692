// The cut between two runs follows the slider, and a pointer over any of the pictures; it stays where it was put.
let cut = null; // percent of the left run; nobody has moved it yet

function move(board, percent) {
  cut = Math.min(100, Math.max(0, percent));
  board.style.setProperty("--cut", `${cut}%`);
  board.querySelector("input[type=range]").value = cut;
}

function slid(event) {
  const board = event.target.closest(".pair");
  if (board && event.target.type === "range") move(board, Number(event.target.value));
}

function swiped(event) {
  const picture = event.target.closest && event.target.closest(".pair .over");
  if (!picture) return;
  const box = picture.getBoundingClientRect();
  move(picture.closest(".pair"), (100 * (event.clientX - box.left)) / box.width);
}

export default function () {
  document.addEventListener("input", slid);
  document.addEventListener("pointermove", swiped);
  const again = (board) => move(board, cut ?? Number(board.querySelector("input[type=range]").value));
  requestAnimationFrame(() => document.querySelectorAll(".pair").forEach(again));
  return () => {
    document.removeEventListener("input", slid);
    document.removeEventListener("pointermove", swiped);
  };
}
