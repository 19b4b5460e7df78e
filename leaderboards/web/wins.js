// Who beats whom: a table of percentages, or, for many rows, a map of colours that tells about the cell pointed at.
const MANY = 30;

const told = (m, i, j) => {
  const n = m.labels.length, won = m.won[i * n + j];
  return won < 0 ? '' : `${m.labels[i]} beats ${m.labels[j]} on ${won} % of prompts, p ${m.p[i * n + j]}`;
};

// Blue for more than half, red for less, stronger with the distance; significant ones twice as strong.
function shade(m, k) {
  const share = m.won[k] / 100 - 0.5, sure = m.p[k] <= m.significant ? 1.6 : 0.7;
  return m.won[k] < 0 ? 'transparent'
    : `color-mix(in srgb, var(${share > 0 ? '--hue0' : '--hue1'}) ${Math.round(Math.min(1, Math.abs(share) * sure) * 100)}%, var(--card))`;
}

function winsTable(m) {
  const n = m.labels.length, made = document.createElement('table');
  made.className = 'wins';
  const cell = (row, kind, text) => { const c = document.createElement(kind); c.textContent = text; row.append(c); return c };
  const top = made.createTHead().insertRow();
  cell(top, 'td', '');
  for (const label of m.labels) {
    const head = cell(top, 'th', '');
    head.scope = 'col';
    head.append(Object.assign(document.createElement('span'), { textContent: label }));
  }
  const body = made.createTBody();
  m.labels.forEach((label, i) => {
    const row = body.insertRow();
    const head = cell(row, 'th', label);
    head.scope = 'row';
    for (let j = 0; j < n; j += 1) {
      const k = i * n + j, c = cell(row, 'td', m.won[k] < 0 ? '·' : m.won[k]);
      c.style.background = shade(m, k);
      if (m.won[k] >= 0 && m.p[k] <= m.significant) c.className = 'best';
      if (m.won[k] >= 0) c.title = told(m, i, j);
    }
  });
  return made;
}

function winsMap(m) {
  const n = m.labels.length, size = Math.max(3, Math.floor(900 / n)), made = document.createElement('canvas');
  made.className = 'wins';
  made.width = made.height = n * size;
  made.tabIndex = 0;
  made.setAttribute('role', 'img');
  made.setAttribute('aria-label', `win matrix of ${n} rows; arrow keys tell about single cells`);
  const pen = made.getContext('2d'), probe = document.createElement('i'), colours = new Map();
  made.append(probe);
  document.body.append(made); // colours can be asked for only within the page
  m.won.forEach((won, k) => {
    const name = shade(m, k);
    if (!colours.has(name)) { probe.style.color = name; colours.set(name, getComputedStyle(probe).color) }
    pen.fillStyle = colours.get(name);
    pen.fillRect((k % n) * size, Math.floor(k / n) * size, size, size);
  });
  let at = [0, 1];
  const tell = (i, j) => { at = [i, j].map(x => Math.min(n - 1, Math.max(0, x))); byId('won').textContent = told(m, ...at) };
  made.onpointermove = event => {
    const box = made.getBoundingClientRect(), scale = n / box.width;
    tell(Math.floor((event.clientY - box.top) * scale), Math.floor((event.clientX - box.left) * scale));
  };
  made.onkeydown = event => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (step) { event.preventDefault(); tell(at[0] + step[0], at[1] + step[1]) }
  };
  return made;
}

async function showWins() {
  const matrix = await load(byId('duel').value);
  byId('won').textContent = '';
  byId('wins').replaceChildren(matrix.labels.length > MANY ? winsMap(matrix) : winsTable(matrix));
}

if (byId('duel')) {
  byId('duel').onchange = showWins;
  // Drawn when it comes near the screen; a map of colours again when light turns dark.
  new IntersectionObserver((entries, watcher) => {
    if (entries.some(entry => entry.isIntersecting)) { watcher.disconnect(); showWins() }
  }, { rootMargin: '300px' }).observe(byId('wins'));
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { if (byId('wins').firstChild) showWins() });
}
