// One clock drives every player that is in view: play, pause, step, loop, speed.
const byId = id => document.getElementById(id);
const fps = +document.body.dataset.fps, frames = +document.body.dataset.frames, length = frames / fps;
const seen = new Set(), onTick = [];
let playing = true, time = 0, last = performance.now();

const videosOf = card => [...card.querySelectorAll('video')];

function show(card) {
  for (const video of videosOf(card)) {
    if (!video.src) video.src = video.dataset.src;
    place(video, true);
    if (playing) start(video);
  }
}

function start(video) {
  video.playbackRate = +byId('speed').value;
  if (time < (video.duration || length)) video.play().catch(() => {});
}

// A clip that is shorter than the others waits on its last frame.
function place(video, exact) {
  const end = Math.max(0, (video.duration || length) - 0.25 / fps);
  const wanted = Math.min(exact ? Math.floor(time * fps + 1e-6) / fps + 0.5 / fps : time, end);
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
  }
  const frame = Math.min(frames - 1, Math.floor(time * fps + 1e-6));
  byId('frame').value = frame;
  byId('where').textContent = `${frame + 1} / ${frames}`;
  onTick.forEach(act => act());
  requestAnimationFrame(tick);
}

const watcher = new IntersectionObserver(entries => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) { seen.add(target); show(target) }
    else { seen.delete(target); videosOf(target).forEach(video => video.pause()) }
  }
}, { rootMargin: '200px' });

byId('play').onclick = () => setPlaying(!playing);
byId('back').onclick = () => goTo(+byId('frame').value - 1);
byId('forward').onclick = () => goTo(+byId('frame').value + 1);
byId('frame').oninput = event => goTo(+event.target.value);
byId('speed').onchange = () => each(video => { video.playbackRate = +byId('speed').value });
addEventListener('keydown', event => {
  if (event.target.matches('select, input:not([type=checkbox]):not([type=range])') || event.ctrlKey || event.metaKey) return;
  const keys = {
    ' ': () => setPlaying(!playing), ArrowLeft: () => goTo(+byId('frame').value - 1),
    ArrowRight: () => goTo(+byId('frame').value + 1), l: () => byId('loop').click(),
    d: byId('overlay') && (() => byId('overlay').click()),
  };
  const act = keys[event.key];
  if (act) { event.preventDefault(); if (event.target.blur) event.target.blur(); act() }
});
document.querySelectorAll('article').forEach(card => watcher.observe(card));
requestAnimationFrame(tick);
