// The leaderboard: sort and find rows, choose plots, point rows out. Plots and win matrices are scripts that are run
// when they are asked for, because a page that opens from disk may not read other files.
const byId = id => document.getElementById(id);
const table = byId('board'), bodies = [...table.tBodies], heads = [...table.tHead.rows[1].cells];
const parts = {}, fetched = {};

function part(name, value) { parts[name] = value }

function load(name) {
  fetched[name] ??= new Promise((done, failed) => {
    const script = document.createElement('script');
    script.onload = () => done(parts[name]);
    script.onerror = () => failed(new Error(`${name} is not in this folder`));
    script.src = name;
    document.body.append(script);
  });
  return fetched[name];
}

// ---- the table: each kind of rows is sorted by itself, rows without a value last --------------------------------

function sortBy(column) {
  const head = heads[column], now = head.getAttribute('aria-sort'), first = head.dataset.first === 'up' ? 'ascending' : 'descending';
  const way = now === 'none' ? first : now === 'ascending' ? 'descending' : 'ascending';
  heads.forEach(other => other.setAttribute('aria-sort', 'none'));
  head.setAttribute('aria-sort', way);
  for (const body of bodies) {
    const rows = [...body.rows].filter(row => !row.matches('.divider'));
    const keyed = rows.map(row => [row.cells[column]?.dataset.value, row]);
    keyed.sort(([a], [b]) => {
      if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
      const order = column ? a - b : a.localeCompare(b, undefined, { numeric: true });
      return way === 'ascending' ? order : -order;
    });
    keyed.forEach(([, row]) => { row.hidden = true }); // nothing to lay out while they move
    body.append(...keyed.map(([, row]) => row));
  }
  shown = CHUNK;
  byId('frame').scrollTop = 0;
  filterRows();
}

// Rows beyond the first ones come when the table is scrolled to its end: hundreds at once would make sorting slow.
const CHUNK = 60;
let shown = CHUNK;

function filterRows() {
  const words = byId('find').value.toLowerCase().split(/\s+/).filter(Boolean);
  let left = 0;
  for (const body of bodies) {
    const box = document.querySelector(`.hide[data-kind=${body.dataset.kind}]`);
    body.hidden = Boolean(box && !box.checked);
    let some = 0;
    for (const row of body.hidden ? [] : body.rows) {
      if (row.matches('.divider')) continue;
      const name = row.cells[0].dataset.value.toLowerCase();
      const found = words.every(word => name.includes(word));
      row.hidden = !found || left + some >= shown;
      some += found;
    }
    body.querySelector('.divider')?.toggleAttribute('hidden', !some);
    left += some;
  }
  byId('count').textContent = `${left} row${left === 1 ? '' : 's'}`;
}

// ---- plots --------------------------------------------------------------------------------------------------------

async function choosePlot() {
  for (const place of byId('pareto').children) {
    place.hidden = place.dataset.metric !== byId('metric').value || place.dataset.cost !== byId('cost').value;
    if (!place.hidden && !place.firstChild) { place.innerHTML = await load(place.dataset.part); pointOut() }
  }
}

let chosen = false; // whether someone chose rows; until then only the radar points any out

function pointOut() {
  const rows = new Set([...document.querySelectorAll('.key[aria-pressed=true]')].map(key => key.dataset.row));
  for (const series of document.querySelectorAll('.series')) {
    const on = rows.has(series.dataset.row), fade = rows.size > 0 && (chosen || series.closest('#radar'));
    series.classList.toggle('faded', Boolean(fade && !on));
    if (fade && on) series.parentNode.append(series); // on top
  }
}

heads.forEach((head, column) => { head.querySelector('button').onclick = () => sortBy(column) });
byId('find').oninput = filterRows;
document.querySelectorAll('.hide').forEach(box => { box.onchange = filterRows });
if (byId('pareto')) byId('metric').onchange = byId('cost').onchange = choosePlot;
for (const key of document.querySelectorAll('.key')) {
  key.onclick = () => { key.setAttribute('aria-pressed', key.getAttribute('aria-pressed') !== 'true'); chosen = true; pointOut() };
}
byId('frame').addEventListener('scroll', event => {
  const { scrollTop, clientHeight, scrollHeight } = event.target;
  if (scrollTop + clientHeight > scrollHeight - 400 && shown < table.rows.length) { shown += CHUNK; filterRows() }
}, { passive: true });
filterRows();
pointOut();
