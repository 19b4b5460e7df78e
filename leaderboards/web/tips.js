// Explanations: every `title` becomes a note beside the pointer or the keyboard's focus; touch shows it, too.
const tip = Object.assign(document.createElement('div'), { id: 'tip', role: 'tooltip', hidden: true });
document.body.append(tip);

function explained(node) {
  const owner = node.closest?.('[title], [data-tip], svg g:has(> title), svg text:has(> title), svg.interval');
  if (!owner) return null;
  const inner = owner.querySelector(':scope > title');
  if (inner) { owner.dataset.tip = inner.textContent; inner.remove() }
  if (owner.title) { owner.dataset.tip = owner.title; owner.removeAttribute('title') }
  return owner.dataset.tip ? owner : null;
}

function showTip(node) {
  const owner = node instanceof Element ? explained(node) : null;
  tip.hidden = !owner;
  if (!owner) return;
  tip.textContent = owner.dataset.tip;
  const box = owner.getBoundingClientRect(), own = tip.getBoundingClientRect();
  const left = Math.min(Math.max(8, box.left + box.width / 2 - own.width / 2), innerWidth - own.width - 8);
  const below = box.bottom + 8, above = box.top - own.height - 8;
  tip.style.left = `${left}px`;
  tip.style.top = `${below + own.height > innerHeight && above > 0 ? above : below}px`;
}

addEventListener('pointerover', event => showTip(event.target));
addEventListener('focusin', event => { if (event.target.matches(':focus-visible')) showTip(event.target) });
addEventListener('focusout', () => { tip.hidden = true });
addEventListener('scroll', () => { tip.hidden = true }, true);
addEventListener('keydown', event => { if (event.key === 'Escape') tip.hidden = true });
