// One question about one pair at a time. Texts are set as text; an answer counts when the server has it on disk.
const byId = id => document.getElementById(id);
const screens = ['start', 'trial', 'thanks', 'trouble'];
const videos = [...document.querySelectorAll('.stage video')];
const again = 700; // milliseconds between the end and the next round
const quiet = matchMedia('(prefers-reduced-motion: reduce)').matches;
let about, rater, now, plays, since, busy = false, replay, ended = new Set();

async function ask(what, body = {}) {
  const reply = await fetch(`api/${what}`, {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body),
  });
  const told = await reply.json();
  if (!reply.ok) throw Object.assign(new Error(told.error), { status: reply.status });
  return told;
}

function open(screen) {
  for (const id of screens) byId(id).hidden = id !== screen;
  if (screen !== 'trial') { clearTimeout(replay); videos.forEach(video => video.pause()) }
}

function trouble(error, retry) {
  byId('why').textContent = error.status ? error.message : 'The study does not answer. Everything you answered is saved.';
  byId('retry').onclick = retry;
  open('trouble');
  byId('retry').focus();
}

async function begin() {
  try {
    about = await ask('hello');
    const { width, height } = about.clip;
    document.documentElement.style.setProperty('--shape', `${width}/${height}`);
    document.documentElement.style.setProperty('--ratio', width / height);
    document.body.classList.toggle('small', width <= 160);
    byId('pairs').textContent = about.pairs;
    byId('asked').replaceChildren(...about.questions.map(text => {
      const line = document.createElement('li');
      line.textContent = text;
      return line;
    }));
    if (about.rater) { byId('name').value = about.rater; byId('name').readOnly = true }
    open('start');
    (about.rater ? document.querySelector('#enter button') : byId('name')).focus();
  } catch (error) { trouble(error, begin) }
}

async function enter(event) {
  event.preventDefault();
  rater = byId('name').value;
  go();
}

async function go(step) {
  try { show(await ask('step', { rater, ...(step === undefined ? {} : { step }) })) }
  catch (error) { trouble(error, () => rater ? go(step) : begin()) }
}

function show(state) {
  const same = now && !now.done && now.trial === state.trial; // the next question about the same pair
  now = state;
  rater = state.rater;
  progress();
  if (state.done) {
    byId('who').textContent = rater;
    byId('sum').textContent = `Your answers on ${state.pairs} pairs of clips are saved.`;
    open('thanks');
    return;
  }
  open('trial');
  byId('prompt').textContent = state.prompt;
  byId('question').textContent = state.question.text;
  mark(state.given);
  byId('undo').disabled = state.step === 0;
  since = performance.now();
  if (same) { wait(plays === 0); start() } else load();
}

function progress() {
  byId('bar').hidden = false;
  byId('bar').setAttribute('aria-valuemax', now.steps);
  byId('bar').setAttribute('aria-valuenow', now.first);
  byId('done').style.width = `${100 * now.first / now.steps}%`;
  const many = !now.done && now.part[1] > 1 ? `, question ${now.part[0]} of ${now.part[1]}` : '';
  byId('where').textContent = now.done ? rater : `pair ${now.pair + 1} of ${now.pairs}${many}`;
}

function mark(side) {
  byId('trial').classList.toggle('tied', side === 'tie');
  for (const part of document.querySelectorAll('[data-side]')) part.classList.toggle('chosen', part.dataset.side === side);
}

function wait(on) {
  byId('trial').classList.toggle('waiting', on);
  say(on ? 'Watch both clips to the end.' : '');
}

function say(text, bad = false) {
  byId('status').textContent = text;
  byId('status').classList.toggle('bad', bad);
}

// ---- the clips: both start together, are kept together, and go round again -----------------------------------------

function load() {
  plays = 0;
  wait(true);
  clearTimeout(replay);
  let missing = videos.length;
  videos.forEach((video, i) => {
    video.oncanplaythrough = () => { video.oncanplaythrough = null; if (--missing === 0) start() };
    video.src = now.clips[i];
    video.load();
  });
  for (const address of now.next) fetch(address).catch(() => {}); // into the cache, for later
}

function start() {
  clearTimeout(replay);
  ended = new Set();
  videos.forEach(video => { video.currentTime = 0 });
  videos.forEach(video => video.play().catch(() => {}));
}

function over(video) {
  ended.add(video);
  if (ended.size < videos.length) return;
  plays += 1;
  if (!busy) wait(false);
  if (!quiet) replay = setTimeout(start, again);
}

function keepTogether() {
  const [left, right] = videos, length = Math.min(left.duration, right.duration) || 1;
  if (!left.paused && !right.paused && !left.seeking && !right.seeking
      && Math.abs(left.currentTime - right.currentTime) > 2 / about.clip.fps) right.currentTime = left.currentTime;
  const share = ended.size === videos.length ? 1 : Math.min(left.currentTime, right.currentTime) / length;
  byId('played').firstElementChild.style.transform = `scaleX(${Math.min(1, share)})`;
  requestAnimationFrame(keepTogether);
}

// ---- answers ---------------------------------------------------------------------------------------------------------

async function choose(side) {
  if (busy || byId('trial').hidden || !plays) return;
  busy = true;
  mark(side);
  const body = {
    rater, trial: now.trial, question: now.question.key, side, plays,
    seconds: (performance.now() - since) / 1000, change: now.given !== '',
  };
  try {
    const [next] = await Promise.all([ask('answer', body), new Promise(done => setTimeout(done, quiet ? 0 : 220))]);
    busy = false;
    show(next);
  } catch (error) {
    busy = false;
    if (error.status === 409) { say(error.message, true); setTimeout(go, 2500) }
    else {
      mark(now.given);
      say(`Not saved: ${error.status ? error.message : 'the study does not answer'}. Answer again to retry.`, true);
    }
  }
}

function undo() {
  if (!busy && now && now.step > 0) go(now.step - 1);
}

videos.forEach(video => {
  video.onended = () => over(video);
  video.onerror = () => say('A clip could not be played. Tell whoever runs this study.', true);
  video.parentElement.onclick = () => choose(video.parentElement.dataset.side);
});
document.querySelectorAll('.choices button').forEach(button => { button.onclick = () => choose(button.dataset.side) });
byId('enter').onsubmit = enter;
byId('again').onclick = start;
byId('undo').onclick = byId('back').onclick = undo;
addEventListener('keydown', event => {
  if (event.target.matches('input') || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const trial = !byId('trial').hidden, thanks = !byId('thanks').hidden;
  const acts = {
    ArrowLeft: trial && (() => choose('left')), ArrowRight: trial && (() => choose('right')),
    ArrowDown: trial && (() => choose('tie')), t: trial && (() => choose('tie')), ' ': trial && start,
    u: (trial || thanks) && undo,
  };
  const act = acts[event.key];
  if (act) { event.preventDefault(); event.target.blur?.(); act() }
});
requestAnimationFrame(keepTogether);
begin();
