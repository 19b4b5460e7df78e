// One clock drives every player that is in view: play, pause, step, loop, speed. Players that go far out of view give
// their memory back, so a page may have hundreds.
const byId = id => document.getElementById(id);
const fps = +document.body.dataset.fps, seen = new Set(), onTick = [];
let frames = +document.body.dataset.frames, length = frames / fps;
let playing = !matchMedia('(prefers-reduced-motion: reduce)').matches, time = 0, last = performance.now();

const videosOf = card => [...card.querySelectorAll('video')];
const frameNow = () => Math.min(frames - 1, Math.floor(time * fps + 1e-6));

function show(card) {
  for (const video of videosOf(card)) {
    if (!video.src) video.src = video.dataset.src;
    video.onloadedmetadata = () => { lengthen(video.duration); place(video, true) };
    video.onerror = () => { if (video.error && video.src) video.replaceWith(lost()) };
    place(video, true);
    if (playing) start(video);
  }
}

function hide(card) {
  for (const video of videosOf(card)) {
    video.pause();
    video.onerror = null;
    video.removeAttribute('src');
    video.load();
  }
}

function lost() {
  return Object.assign(document.createElement('p'), { className: 'none', textContent: 'this clip does not play' });
}

// The clock goes on to the end of the longest clip.
function lengthen(seconds) {
  const found = Math.round(seconds * fps);
  if (!(found > frames)) return;
  frames = found;
  length = frames / fps;
  byId('frame').max = frames - 1;
}

function start(video) {
  video.playbackRate = +byId('speed').value;
  if (time < (video.duration || length)) video.play().catch(() => {});
}

// A clip that is shorter than the others waits on its last frame.
function place(video, exact) {
  const end = Math.max(0, (video.duration || length) - 0.25 / fps);
  const wanted = Math.min(exact ? (Math.floor(time * fps + 1e-6) + 0.5) / fps : time, end);
  const slack = exact ? 0.01 / fps : 1.5 / fps;
  if (!video.seeking && Math.abs(video.currentTime - wanted) > slack) video.currentTime = wanted;
}

function each(act) { for (const card of seen) videosOf(card).forEach(act) }

function setPlaying(on) {
  playing = on;
  byId('play').textContent = on ? 'Pause' : 'Play';
  if (on && time >= length - 0.5 / fps) time = 0;
  each(video => { if (on) { place(video, false); start(video) } else { video.pause(); place(video, true) } });
}

function goTo(frame) {
  setPlaying(false);
  time = Math.min(Math.max(frame, 0), frames - 1) / fps;
  each(video => place(video, true));
}

function tick(now) {
  const passed = (now - last) / 1000 * +byId('speed').value;
  last = now;
  if (playing) {
    time += passed;
    if (time >= length) {
      if (byId('loop').checked) { time = 0; each(video => { video.currentTime = 0; start(video) }) }
      else { time = (frames - 1) / fps; setPlaying(false) }
    }
    each(video => place(video, false));
  } else each(video => place(video, true)); // a seek that came while another was under way
  byId('frame').value = frameNow();
  byId('where').textContent = `${frameNow() + 1} / ${frames}`;
  onTick.forEach(act => act());
  requestAnimationFrame(tick);
}

const watcher = new IntersectionObserver(entries => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) { seen.add(target); show(target) } else if (seen.delete(target)) hide(target);
  }
}, { rootMargin: '400px' });

byId('play').onclick = () => setPlaying(!playing);
byId('back').onclick = () => goTo(frameNow() - 1);
byId('forward').onclick = () => goTo(frameNow() + 1);
byId('frame').oninput = event => goTo(+event.target.value);
byId('speed').onchange = () => each(video => { video.playbackRate = +byId('speed').value });
addEventListener('keydown', event => {
  const { target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || target.matches('select, summary, input:not([type=checkbox], [type=range])')) return;
  if (event.key === ' ' && target.matches('button, a, input')) return; // the space bar presses what has the focus
  if (event.key.startsWith('Arrow') && target.matches('[type=range]')) return;
  const keys = {
    ' ': () => setPlaying(!playing), ArrowLeft: () => goTo(frameNow() - 1), ArrowRight: () => goTo(frameNow() + 1),
    l: () => byId('loop').click(), d: byId('overlay') && (() => byId('overlay').click()),
  };
  if (keys[event.key]) { event.preventDefault(); keys[event.key]() }
});
byId('play').textContent = playing ? 'Pause' : 'Play';
document.querySelectorAll('.watch').forEach(card => watcher.observe(card));
requestAnimationFrame(tick);
