// Beside the clock of player.js: the difference of each clip from the first, and the order of the prompts.
const ready = video => video && video.readyState >= 2 && !video.seeking;

function drawDifferences(card) {
  const [reference, ...others] = videosOf(card);
  for (const canvas of card.querySelectorAll('canvas')) {
    const other = others.find(video => video.dataset.row === canvas.dataset.row);
    if (!ready(reference) || !ready(other)) continue;
    if (canvas.width !== reference.videoWidth || canvas.height !== reference.videoHeight) {
      canvas.width = reference.videoWidth;
      canvas.height = reference.videoHeight;
    }
    const pen = canvas.getContext('2d');
    pen.globalCompositeOperation = 'source-over';
    pen.drawImage(reference, 0, 0, canvas.width, canvas.height);
    pen.globalCompositeOperation = 'difference';
    pen.drawImage(other, 0, 0, canvas.width, canvas.height);
    canvas.style.filter = `brightness(${Math.max(1, +byId('gain').value || 1)})`;
  }
}

function sortCards() {
  const [key, way] = byId('order').value.split('|');
  const value = card => key === 'prompt' ? card.dataset.prompt : +(card.dataset[key] ?? NaN);
  const cards = [...byId('prompts').children].map(card => [value(card), card]);
  cards.sort(([x], [y]) => {
    if (x !== x || y !== y) return (x !== x) - (y !== y); // prompts without a value last
    return (x < y ? -1 : x > y ? 1 : 0) * (way === 'down' ? -1 : 1);
  });
  byId('prompts').append(...cards.map(([, card]) => card));
}

function filterCards() {
  const words = byId('find').value.toLowerCase().split(/\s+/).filter(Boolean);
  let left = 0;
  for (const card of byId('prompts').children) {
    card.hidden = !words.every(word => card.dataset.prompt.toLowerCase().includes(word));
    left += !card.hidden;
  }
  byId('count').textContent = `${left} prompt${left === 1 ? '' : 's'}`;
}

onTick.push(() => { if (byId('overlay').checked) seen.forEach(drawDifferences) });
byId('overlay').onchange = event => document.body.classList.toggle('overlay', event.target.checked);
byId('order').onchange = sortCards;
byId('find').oninput = filterCards;
document.body.classList.toggle('overlay', byId('overlay').checked); // a browser may keep it over a reload
filterCards();
