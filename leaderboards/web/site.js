// The leaderboard's table: sort by any column, find rows; plots: choose the metric and cost, point out rows.
const byId = id => document.getElementById(id);
const table = byId('board'), body = table.tBodies[0], heads = [...table.tHead.rows[1].cells];

function sortBy(column) {
  const head = heads[column], up = head.getAttribute('aria-sort') === 'descending';
  heads.forEach(other => other.setAttribute('aria-sort', 'none'));
  head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
  const value = row => row.cells[column].dataset.value;
  const rows = [...body.rows].sort((a, b) => {
    const x = value(a), y = value(b);
    if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
    const order = column ? x - y : y.localeCompare(x);
    return up ? order : -order;
  });
  body.append(...rows);
}

function filterRows() {
  const text = byId('find').value.toLowerCase(), only = byId('complete').checked;
  for (const row of body.rows) {
    row.hidden = !row.cells[0].textContent.toLowerCase().includes(text) || (only && row.dataset.complete === '0');
  }
}

function choosePlot() {
  for (const plot of byId('pareto').children) {
    plot.hidden = plot.dataset.metric !== byId('metric').value || plot.dataset.cost !== byId('cost').value;
  }
}

function pointOut() {
  const chosen = new Set([...document.querySelectorAll('button.key[aria-pressed=true]')].map(key => key.dataset.row));
  for (const series of document.querySelectorAll('.series')) {
    series.classList.toggle('faded', chosen.size > 0 && !chosen.has(series.dataset.row));
  }
}

heads.forEach((head, column) => head.querySelector('button').addEventListener('click', () => sortBy(column)));
byId('find').oninput = filterRows;
byId('complete').onchange = filterRows;
if (byId('pareto')) byId('metric').onchange = byId('cost').onchange = choosePlot;
for (const key of document.querySelectorAll('button.key')) {
  key.onclick = () => { key.setAttribute('aria-pressed', key.getAttribute('aria-pressed') !== 'true'); pointOut() };
}
